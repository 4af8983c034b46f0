//! Simulation of the kernel: thousands of seeds of chance, executors that die, hang, answer late, twice and out of turn, and
//! everything that must hold checked after each event. `RUNLET_SIM_SEED=17` replays one seed, `RUNLET_SIM_SEEDS=100000`
//! makes a long night of it.

mod crash;
mod executors;
mod plans;
mod rng;
mod world;

use runlet_kernel::coverage::Coverage;

use world::World;

/// Seeds of the normal run.
const SEEDS: u64 = 2_500;

/// Events of chance per seed, before everything is brought to rest.
const STEPS: usize = 100;

/// Names the seed when its simulation panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: RUNLET_SIM_SEED={} cargo test -p runlet-kernel --test simulation", self.0);
        }
    }
}

fn simulate(seed: u64) -> Coverage {
    let _named = Named(seed);
    let mut world = World::new(seed);
    world.live(STEPS);
    world.rest();
    world.coverage.merge(world.kernel.coverage());
    world.coverage
}

#[test]
fn whatever_happens_the_kernel_keeps_its_promises() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("the variable holds a number"));
    if let Some(seed) = number("RUNLET_SIM_SEED") {
        simulate(seed);
        return;
    }
    let mut taken = Coverage::default();
    for seed in 0..number("RUNLET_SIM_SEEDS").unwrap_or(SEEDS) {
        taken.merge(&simulate(seed));
    }
    let missing = taken.missing();
    assert!(missing.is_empty(), "legal transitions that no seed took:\n  {}", missing.join("\n  "));
}
