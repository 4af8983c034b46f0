//! Which traces are exported: the samplers of the OpenTelemetry specification (Trace SDK, "Built-in samplers").

/// Decides for a whole trace, where it begins or comes from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether a trace that comes from elsewhere is exported if it is there, and only then.
    parent_based: bool,
    root: Root,
}

/// What is decided of a trace that begins here, and of any if the parent does not count.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Root {
    AlwaysOn,
    AlwaysOff,
    /// Of so many of 2^63.
    Ratio(u64),
}

/// One of all.
const WHOLE: u64 = 1 << 63;

/// The names of `OTEL_TRACES_SAMPLER` that are known here.
pub(crate) const NAMES: &str =
    "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio";

impl Default for Sampler {
    fn default() -> Self {
        Self { parent_based: true, root: Root::AlwaysOn }
    }
}

impl Sampler {
    /// By its name in `OTEL_TRACES_SAMPLER`; `argument` is the value of `OTEL_TRACES_SAMPLER_ARG` for those that take one.
    ///
    /// # Errors
    /// [`Unknown`], which says what is wrong.
    pub(crate) fn named(name: &str, argument: Option<&str>) -> Result<Self, Unknown> {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Root::AlwaysOn,
            "always_off" => Root::AlwaysOff,
            "traceidratio" => Root::Ratio(ratio(argument)?),
            _ => return Err(Unknown::Name),
        };
        Ok(Self { parent_based, root })
    }

    /// Whether a trace is exported; `parent_sampled` is what its caller decided, if it comes from one.
    #[must_use]
    pub fn samples(&self, trace_id: u128, parent_sampled: Option<bool>) -> bool {
        match (self.parent_based, parent_sampled) {
            (true, Some(sampled)) => sampled,
            (true, None) | (false, _) => match self.root {
                Root::AlwaysOn => true,
                Root::AlwaysOff => false,
                // As other implementations do it, so that all decide the same: by the last eight bytes.
                Root::Ratio(of_whole) => (trace_id as u64) >> 1 < of_whole,
            },
        }
    }
}

/// What is wrong with a sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Name,
    Argument,
}

/// A share from 0 to 1, of 2^63; everything if none is given.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the share is between 0 and 1, and 2^63 is a power of two"
)]
fn ratio(argument: Option<&str>) -> Result<u64, Unknown> {
    let Some(text) = argument else { return Ok(WHOLE) };
    let share: f64 = text.parse().map_err(|_| Unknown::Argument)?;
    if !(0.0..=1.0).contains(&share) {
        return Err(Unknown::Argument);
    }
    Ok((share * WHOLE as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u128 = 0x0af7_6519_16cd_43dd_0000_0000_0000_0001;
    const LAST: u128 = 0x0af7_6519_16cd_43dd_ffff_ffff_ffff_ffff;

    fn named(name: &str, argument: Option<&str>) -> Sampler {
        Sampler::named(name, argument).expect("a name of the specification")
    }

    #[test]
    fn the_parent_decides_where_it_is_asked() {
        for (name, without, of_sampled, of_unsampled) in [
            ("always_on", true, true, true),
            ("always_off", false, false, false),
            ("parentbased_always_on", true, true, false),
            ("parentbased_always_off", false, true, false),
            ("traceidratio", true, true, true),
            ("parentbased_traceidratio", true, true, false),
        ] {
            let sampler = named(name, None);
            let decided = [None, Some(true), Some(false)].map(|parent| sampler.samples(LAST, parent));
            assert_eq!(decided, [without, of_sampled, of_unsampled], "{name}");
        }
        assert_eq!(Sampler::default(), named("parentbased_always_on", None));
    }

    #[test]
    fn a_ratio_takes_its_share() {
        for (share, first, last) in [("0", false, false), ("0.5", true, false), ("1", true, true), ("1.0", true, true)]
        {
            let sampler = named("traceidratio", Some(share));
            assert_eq!([FIRST, LAST].map(|id| sampler.samples(id, None)), [first, last], "{share}");
        }
        let quarter = named("traceidratio", Some("0.25"));
        let taken = (0..1_024_u128).filter(|number| quarter.samples(number << 54, None));
        assert_eq!(taken.count(), 256);
    }

    #[test]
    fn what_is_no_sampler_is_said() {
        assert_eq!(Sampler::named("jaeger_remote", None), Err(Unknown::Name));
        assert_eq!(Sampler::named("parentbased_", None), Err(Unknown::Name));
        for share in ["", "half", "-0.1", "1.1", "NaN"] {
            assert_eq!(Sampler::named("traceidratio", Some(share)), Err(Unknown::Argument), "{share}");
        }
        assert!(Sampler::named("always_on", Some("half")).is_ok(), "who takes none does not look at it");
    }
}
