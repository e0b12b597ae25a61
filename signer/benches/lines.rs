//! What a voter's and a leader's look at a line cost while it holds a hundred, ten thousand and a hundred thousand claims.
//!
//! `cargo bench -p tally-signer --bench lines`
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails loudly")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::convert::Infallible;
use std::hint::black_box;
use tally_domain::claim::{Claimant, LineMemory, horizon_ms};
use tally_domain::{Charge, Digest, Interval, LimitId, LineClaim, LineId, RequestId, Tenant, UnixMillis};
use tally_signer::claims::{Part, Placer, Room, Search, in_the_way};

const CLAIMS: [u32; 3] = [100, 10_000, 100_000];
const NOW: UnixMillis = UnixMillis(1_795_298_460_000);
const WINDOW_MS: u64 = 24 * 3_600_000;

/// Units of every claim.
const AMOUNT: u128 = 10;

/// A line with room for twice what is claimed; every other place is taken, so that it has as many gaps as claims.
fn charge(claims: u32) -> Charge {
    let max = 2 * AMOUNT * u128::from(claims);
    let limit = LimitId::parse("day").unwrap();
    Charge { limit, line: LineId(Digest([1; 32])), max, window_ms: WINDOW_MS, amount: AMOUNT }
}

fn who(n: u32) -> Claimant {
    let mut request = [0; 16];
    // Request ids are random: neighbours in time are none in any order.
    request[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
    Claimant { tenant: Tenant::parse("acme").unwrap(), request: RequestId(request) }
}

fn claim(charge: &Charge, place: u32) -> LineClaim {
    let from = AMOUNT * u128::from(place);
    LineClaim::new(charge, vec![Interval::new(from, from + AMOUNT).unwrap()]).unwrap()
}

/// Time from one claim to the next: a place comes free when its turn comes again.
fn pace(claims: u32) -> u64 {
    horizon_ms(WINDOW_MS) / u64::from(claims) + 1
}

/// As after a window of steady use: with every further vote one more claim is forgotten.
fn memory(claims: u32) -> LineMemory {
    let charge = charge(claims);
    let mut memory = LineMemory::default();
    for n in 0..claims {
        let at = NOW.minus(u64::from(claims - n) * pace(claims));
        let voted = memory.consider(&who(n), &claim(&charge, 2 * n), at).unwrap();
        memory.keep(voted, WINDOW_MS);
    }
    memory
}

fn bench(c: &mut Criterion) {
    for claims in CLAIMS {
        let (memory, charge, by) = (memory(claims), charge(claims), who(claims + 1));
        let free = claim(&charge, claims | 1);
        c.bench_function(&format!("a voter considers a claim/{claims}"), |b| {
            b.iter(|| memory.consider(black_box(&by), &free, NOW).unwrap());
        });
        let taken = claim(&charge, claims & !1);
        c.bench_function(&format!("a voter says what is in the way/{claims}"), |b| {
            b.iter(|| in_the_way(black_box(&by), &taken, NOW, &memory).unwrap().unwrap());
        });
        // Half of what is held is beyond the end, and the other half within it.
        let lowered = Charge { max: AMOUNT * u128::from(claims) + AMOUNT, ..charge.clone() };
        let lowered = claim(&lowered, 1);
        c.bench_function(&format!("a voter sums up a lowered limit/{claims}"), |b| {
            b.iter(|| memory.consider(black_box(&by), &lowered, NOW).unwrap());
        });
        c.bench_function(&format!("a voter keeps a claim/{claims}"), |b| {
            let mut memory = memory.clone();
            let mut n = claims;
            b.iter(|| {
                n += 1;
                let at = NOW.plus(u64::from(n - claims) * pace(claims));
                let voted = memory.consider(&who(n), &claim(&charge, 2 * (n % claims)), at).unwrap();
                memory.keep(voted, WINDOW_MS);
            });
        });
        leader(c, claims, &memory, &charge);
    }
}

fn leader(c: &mut Criterion, claims: u32, memory: &LineMemory, charge: &Charge) {
    let by = who(claims + 1);
    let mut room = Room::of(memory, charge, NOW);
    let placer = Placer::new(std::slice::from_ref(charge)).beginning_with(Part { number: 1, of: 3 });
    let mut rng = StdRng::seed_from_u64(1);
    c.bench_function(&format!("a leader looks for room/{claims}"), |b| {
        b.iter(|| {
            let see = |search: &Search<'_>, rng: &mut StdRng| {
                Ok::<_, Infallible>(room.see(memory, &by, search, std::iter::empty(), rng))
            };
            placer.place(see, NOW, &mut rng).unwrap().unwrap()
        });
    });
    let more = Charge { amount: 9 * AMOUNT, ..charge.clone() };
    c.bench_function(&format!("a leader says when there is room/{claims}"), |b| {
        b.iter(|| room.room_at(memory, &by, &more));
    });
    c.bench_function(&format!("a line is read at the start/{claims}"), |b| {
        let voted: Vec<_> = memory.voted().cloned().collect();
        b.iter_batched(
            || voted.clone(),
            |voted| Room::of(&LineMemory::new(UnixMillis(0), voted), charge, NOW),
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
