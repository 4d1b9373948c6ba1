//! Shared by the integration tests: the device, comparison with computed tolerances, guarded buffers, test data.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test should panic")]

pub mod npz;
pub mod shared;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use knotwork::gpu::{Gpu, GpuOptions};

/// The device all tests of a file share. No adapter is a failure, never a skip.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| Gpu::open(GpuOptions::default()).expect("the tests need an adapter; a software driver will do"))
}

/// A device refuses writes while any recorder of it holds work: tests that share it take turns.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rounding unit of f32.
pub const EPS: f64 = f32::EPSILON as f64 / 2.0;

/// Compares element by element against a tolerance per element; reports the worst.
pub fn assert_close(name: &str, got: &[f32], want: &[f64], tolerance: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), want.len(), "{name}: lengths differ");
    let mut worst = (0, 0.0);
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!(g.is_finite(), "{name}[{i}] is {g}, want {w}");
        let ratio = (f64::from(g) - w).abs() / tolerance(i).max(f64::MIN_POSITIVE);
        if ratio > worst.1 {
            worst = (i, ratio);
        }
    }
    let (i, ratio) = worst;
    assert!(
        ratio <= 1.0,
        "{name}[{i}]: got {}, want {}, error is {ratio:.3} tolerances",
        got[i],
        want[i]
    );
}

/// `|got - want| / |want|` in l2.
pub fn relative_l2(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let error: f64 = got.iter().zip(want).map(|(&g, w)| (f64::from(g) - w).powi(2)).sum();
    let size: f64 = want.iter().map(|w| w * w).sum();
    (error / size).sqrt()
}

/// What outputs hold before a dispatch: a quiet NaN with a recognisable payload.
pub const POISON: u32 = 0x7fc0_dead;

/// `count` poisoned values.
pub fn poison(count: usize) -> Vec<f32> {
    vec![f32::from_bits(POISON); count]
}

/// Whether a value still is the poison.
pub fn poisoned(value: f32) -> bool {
    value.to_bits() == POISON
}

/// Deterministic values in [-1, 1) for tests.
pub fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32) / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}
