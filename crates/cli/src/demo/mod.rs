//! `runlet up --demo`: a small shop on `https://localhost:4000` and the examples that read it, so that the founding
//! example answers real JSON without the internet.

mod certificate;
pub(crate) mod examples;
mod pages;
mod server;

pub(crate) use certificate::write_authority;
pub(crate) use server::{Shop, URL};
