//! Whether a text is JSON that whoever gets it later can read. Skipping over a document is not enough to know: that lets texts
//! pass that are not UTF-8, halves of surrogates, numbers beyond any, and any depth.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::JSON_DEPTH_MAX;

/// Reads one document, and keeps nothing of it.
pub(crate) fn check(text: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    Within(JSON_DEPTH_MAX).deserialize(&mut reader)?;
    reader.end()
}

/// A value of at most so many levels.
#[derive(Clone, Copy)]
struct Within(usize);

impl Within {
    /// What a list or an object of this value may hold.
    fn inside<E: Error>(self) -> Result<Self, E> {
        let levels = self.0.checked_sub(1);
        levels.map(Self).ok_or_else(|| E::custom(format_args!("more than {JSON_DEPTH_MAX} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Within {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while list.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while object.next_entry_seed(inside, inside)?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_can_be_read_and_what_cannot_be_read_is_refused() {
        let nested = |levels| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let (deepest, too_deep) = (nested(JSON_DEPTH_MAX), nested(JSON_DEPTH_MAX + 1));
        for good in ["null", " { \"a\" : [1, -2.5e3, \"\\ud83d\\ude00\"] } ", "18446744073709551616", &deepest] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
            assert!(serde_json::from_str::<serde_json::Value>(good).is_ok(), "{good}");
        }
        for bad in ["", "1 2", "{\"a\":}", "\"\\ud800\"", "1e999", "[1,]", &too_deep] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check(b"\"\xff\"").is_err() && check(b"{\"\xff\":1}").is_err(), "not UTF-8");
    }
}
