//! Embeds `examples/*.json` and `*.jsonc` for `runlet up --demo`: whatever lies there is deployed there.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../examples");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", directory.display());

    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json" || extension == "jsonc"));
    files.sort();

    let mut list = String::from("[\n");
    for file in files {
        let file = file.canonicalize()?;
        let name = file.file_name().and_then(|name| name.to_str()).ok_or("an example's name is not UTF-8")?;
        writeln!(list, "    ({:?}, include_str!({:?})),", format!("examples/{name}"), file)?;
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("examples.rs"), list)?;
    Ok(())
}
