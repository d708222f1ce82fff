//! How large the messages of a run are: the constants of docs/scale.md.
//!
//! ```text
//! cargo run --release --workspace --example sizes
//! ```

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use lsgan_spec::scalars;
use lsgan_wire::v1;
use prost::Message;

/// Workers, one virtual rank each.
const WORKERS: [u64; 4] = [8, 64, 1_024, 10_000];
/// A run of a day at 20 steps a second.
const STEP: u64 = 1_700_000;

fn main() {
    let heartbeat = v1::Heartbeat { applied: Some(2 * STEP), pace_us: Some(40_000) };
    let parked = v1::Parked {
        generation: 300,
        applied: Some(2 * STEP),
        reason: v1::ParkReason::Aborted.into(),
        why: String::new(),
    };
    let hello = v1::Hello {
        name: "node-0123:1".to_owned(),
        address: "10.20.30.40:45678".to_owned(),
        numerics: Some(v1::Numerics {
            libtorch: "2.11.0".to_owned(),
            device: v1::DeviceKind::Cpu.into(),
            model: "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz".to_owned(),
            instructions: "avx512".to_owned(),
            probe: u64::MAX,
        }),
        data_fingerprint: "0".repeat(64),
        ..v1::Hello::default()
    };
    let scalars: BTreeMap<String, f64> = scalars::ALL.iter().map(|one| (one.name.to_owned(), 0.5)).collect();
    let row = v1::StepMetrics { step: STEP, wall_ms: 1_795_897_865_000, scalars };
    let hash = v1::StateHash { step: STEP, hash: vec![0; 32] };
    for (what, len_bytes) in [
        ("Hello", hello.encoded_len()),
        ("Heartbeat", heartbeat.encoded_len()),
        ("Parked", parked.encoded_len()),
        ("Consumed", v1::Consumed { virtual_rank: 1_000, ordinals: 100_000 }.encoded_len()),
        ("StateHash", hash.encoded_len()),
        ("a row of Metrics", row.encoded_len()),
    ] {
        println!("{what:<18} {len_bytes:>12} bytes");
    }
    for workers in WORKERS {
        let form = form(workers).encoded_len() as u64;
        println!("Form, {workers:>6} members {form:>12} bytes, to all of them {:>14}", form * workers);
    }
}

/// What one of so many members is told.
fn form(workers: u64) -> v1::Form {
    let member = |rank: u64| v1::Member {
        incarnation: rank + 1,
        address: format!("10.20.{}.{}:45678", rank / 200, rank % 200),
        first_virtual_rank: rank as u32,
        virtual_rank_count: 1,
    };
    v1::Form {
        generation: 300,
        rank: 7,
        members: (0..workers).map(member).collect(),
        from: 2 * STEP,
        start: v1::Start::Held.into(),
        leases: vec![v1::Lease { virtual_rank: 7, until: 100_000 }],
        writer: Some(0),
        last_step: 2 * STEP,
        pass: Some(v1::Pass { incarnation: 7, generation: 300, until: STEP, led: false, seal: vec![0; 32] }),
        ..v1::Form::default()
    }
}
