//! The kernels of plug-and-play, one by one, against their formulas in float64, pixel by pixel, at awkward sizes.

use crate::common::{EPS, assert_close, gpu, poison, poisoned, turn, values};
use knotwork::gpu::{Buffer, ParamTable, ShaderStruct};
use knotwork::solver::{PnpParams, PnpState, ProxParams};

const GUARD: usize = 37;
const SIZES: [usize; 6] = [1, 255, 4095, 4096, 4097, 9001];

/// What a kernel reads and writes: a name and what it holds before, `None` for poison.
type Memory<'a> = (&'a str, Option<Vec<f32>>);

/// Runs a kernel twice on fresh memory and returns what each buffer holds; both runs must leave the same bits and no guard may
/// change.
fn run<P: ShaderStruct>(
    kernel: &str,
    params: &ParamTable<P>,
    groups: u32,
    state: Option<PnpState>,
    memory: &[Memory<'_>],
    pixels: usize,
) -> Vec<Vec<f32>> {
    let length = |name: &str| match name {
        "partials" => 4 * pixels.div_ceil(4096),
        "history" => 8,
        _ => pixels,
    };
    let filled = |(name, held): &Memory<'_>| -> Vec<f32> {
        let mut all = held.clone().unwrap_or_else(|| poison(length(name)));
        assert_eq!(all.len(), length(name));
        // The kernel asks the history for its length.
        if *name != "history" {
            all.extend(poison(GUARD));
        }
        all
    };
    let once = || -> Vec<Vec<f32>> {
        let buffers: Vec<Buffer> = memory.iter().map(|m| gpu().upload(m.0, &filled(m)).unwrap()).collect();
        let state = state.map(|state| gpu().upload("state", &[state]).unwrap());
        let mut bindings = vec![("params", params.binding())];
        bindings.extend(memory.iter().zip(&buffers).map(|(m, b)| (m.0, b.into())));
        bindings.extend(state.iter().map(|s| ("state", s.into())));
        let bound = gpu().kernel(kernel, &[]).unwrap().bind(gpu(), &bindings).unwrap();
        let mut recorder = gpu().record();
        recorder.dispatch(&bound, [groups, 1, 1], 0);
        recorder.submit();
        let all = buffers.iter().chain(&state);
        all.map(|b| gpu().read::<f32>(b).unwrap()).collect()
    };
    let (first, second) = (once(), once());
    let bits =
        |all: &[Vec<f32>]| -> Vec<Vec<u32>> { all.iter().map(|v| v.iter().map(|x| x.to_bits()).collect()).collect() };
    assert_eq!(bits(&first), bits(&second), "{kernel}, {pixels} pixels");
    memory
        .iter()
        .zip(&first)
        .map(|((name, _), all)| {
            let (held, guard) = all.split_at(length(name));
            assert!(guard.iter().all(|v| poisoned(*v)), "{kernel}: written behind {name}");
            held.to_vec()
        })
        .chain(first[memory.len()..].iter().cloned())
        .collect()
}

fn params(pixels: usize) -> PnpParams {
    PnpParams {
        pixels: pixels as u32,
        keep: 1.25,
        add: -0.7,
        averaging: 0.4,
        strength: 0.6,
        low: -0.3,
        high: 0.45,
        tolerance: 1e-3,
    }
}

/// f32 products and sums of these terms, each with a few roundings.
fn rounding(terms: &[f64]) -> f64 {
    6.0 * EPS * terms.iter().map(|t| t.abs()).sum::<f64>() + 1e-37
}

const A: f64 = 0.4_f32 as f64;
const S: f64 = 0.6_f32 as f64;

/// `D` and its terms.
fn denoised(v: f32, network: f32) -> [f64; 2] {
    [(1.0 - A) * f64::from(v), A * S * f64::from(network)]
}

/// The partial sums of `term`, each with the most that f32 may lose: a tree and 16 terms by each invocation, over terms whose own
/// errors are `EPS` times a few.
fn assert_sums(name: &str, partials: &[f32], pixels: usize, term: impl Fn(usize) -> ([f64; 4], [f64; 4])) {
    let (mut want, mut error) = (Vec::new(), Vec::new());
    for group in 0..pixels.div_ceil(4096) {
        let (mut sums, mut losses) = ([0.0; 4], [0.0; 4]);
        for pixel in group * 4096..pixels.min((group + 1) * 4096) {
            let (terms, errors) = term(pixel);
            for k in 0..4 {
                sums[k] += terms[k];
                losses[k] += errors[k] + 32.0 * EPS * terms[k].abs();
            }
        }
        want.extend(sums);
        error.extend(losses);
    }
    assert_close(name, partials, &want, |i| error[i]);
}

/// `t^2` of a `t` that is off by `e`.
fn squared(t: f64, e: f64) -> f64 {
    2.0 * t.abs() * e + e * e
}

#[test]
fn the_denoiser_sees_its_argument() {
    let _turn = turn();
    for pixels in SIZES {
        let table = gpu().params(&[params(pixels)]).unwrap();
        let (x, q) = (values(1, pixels), values(2, pixels));
        let memory = [
            ("x", Some(x.clone())),
            ("q", Some(q.clone())),
            ("v", None),
            ("input", None),
        ];
        let got = run(
            "pnp_argument",
            &table,
            pixels.div_ceil(4096) as u32,
            None,
            &memory,
            pixels,
        );
        let terms = |i: usize| [1.25 * f64::from(x[i]), f64::from(-0.7_f32) * f64::from(q[i])];
        let want: Vec<f64> = (0..pixels).map(|i| terms(i).iter().sum()).collect();
        assert_close("v", &got[2], &want, |i| rounding(&terms(i)));
        let scaled: Vec<f64> = want.iter().map(|v| v / S).collect();
        assert_close("v / s", &got[3], &scaled, |i| 2.0 * rounding(&terms(i)) / S);
    }
}

#[test]
fn forward_backward_moves_and_projects_what_still_runs() {
    let _turn = turn();
    for pixels in SIZES {
        let table = gpu().params(&[params(pixels)]).unwrap();
        let [v, network, x] = [1, 2, 3].map(|seed| values(seed, pixels));
        let groups = pixels.div_ceil(4096) as u32;
        let memory = [
            ("v", Some(v.clone())),
            ("network", Some(network.clone())),
            ("x", Some(x.clone())),
            ("partials", None),
        ];
        let run = |status| {
            let state = PnpState {
                status,
                ..Default::default()
            };
            run("pnp_forward_backward", &table, groups, Some(state), &memory, pixels)
        };
        let got = run(0);
        let free = |i: usize| denoised(v[i], network[i]);
        let next = |i: usize| {
            free(i)
                .iter()
                .sum::<f64>()
                .clamp(f64::from(-0.3_f32), f64::from(0.45_f32))
        };
        let want: Vec<f64> = (0..pixels).map(next).collect();
        assert_close("x", &got[2], &want, |i| rounding(&free(i)));
        assert_sums("sums", &got[3], pixels, |i| {
            let e = rounding(&free(i));
            let (before, d) = (f64::from(x[i]), free(i).iter().sum::<f64>());
            let moved = next(i) - before;
            let off = [squared(moved, e + EPS * moved.abs()), 0.0, squared(d, e), 0.0];
            ([moved * moved, before * before, d * d, 0.0], off)
        });
        let stopped = run(1);
        assert_eq!(stopped[2], x, "moved after the end");
        assert!(stopped[3].iter().all(|s| *s == 0.0));
    }
}

#[test]
fn douglas_rachford_moves_its_iterate_and_keeps_the_image() {
    let _turn = turn();
    for pixels in SIZES {
        let table = gpu().params(&[params(pixels)]).unwrap();
        let [v, network, x, z] = [1, 2, 3, 4].map(|seed| values(seed, pixels));
        let groups = pixels.div_ceil(4096) as u32;
        let image = values(5, pixels);
        let memory = [
            ("v", Some(v.clone())),
            ("network", Some(network.clone())),
            ("x", Some(x.clone())),
            ("z", Some(z.clone())),
            ("image", Some(image.clone())),
            ("partials", None),
        ];
        let run = |status| {
            let state = PnpState {
                status,
                ..Default::default()
            };
            run("pnp_douglas_rachford", &table, groups, Some(state), &memory, pixels)
        };
        let got = run(0);
        let terms = |i: usize| {
            let [a, b] = denoised(v[i], network[i]);
            [a, b, -f64::from(x[i]), f64::from(z[i])]
        };
        let denoised = |i: usize| denoised(v[i], network[i]).iter().sum::<f64>();
        let want: Vec<f64> = (0..pixels).map(|i| terms(i).iter().sum()).collect();
        assert_close("z", &got[3], &want, |i| rounding(&terms(i)));
        let clamped: Vec<f64> = (0..pixels)
            .map(|i| denoised(i).clamp(f64::from(-0.3_f32), f64::from(0.45_f32)))
            .collect();
        assert_close("image", &got[4], &clamped, |i| rounding(&terms(i)));
        assert_sums("sums", &got[5], pixels, |i| {
            let e = rounding(&terms(i));
            let (near_data, next) = (f64::from(x[i]), want[i]);
            let moved = denoised(i) - near_data;
            let off = [squared(moved, e), 0.0, squared(next, e), 0.0];
            ([moved * moved, near_data * near_data, next * next, 0.0], off)
        });
        let stopped = run(1);
        assert_eq!((&stopped[3], &stopped[4]), (&z, &image), "moved after the end");
    }
}

#[test]
fn the_control_sums_decides_and_remembers() {
    let _turn = turn();
    // More groups than the workgroup has invocations, in the last case.
    for pixels in [1_usize, 4096, 9001, 300 * 4096 + 5] {
        let groups = pixels.div_ceil(4096);
        let table = gpu().params(&[params(pixels)]).unwrap();
        for (scale, iterations, status, spoilt) in [
            (1.0_f32, 0, 0, None),
            (1e-7, 2, 0, None),
            (1e-7, 5, 0, Some(f32::NAN)),
            (1.0, 7, 0, Some(f32::INFINITY)),
            (1e-7, 9, 1, None),
        ] {
            let mut partials: Vec<f32> = values(3, 4 * groups).iter().map(|v| 1.5 + v).collect();
            for quad in partials.chunks_exact_mut(4) {
                quad[0] *= scale;
            }
            if let Some(value) = spoilt {
                // The third of the sums is there for nothing else.
                partials[4 * (groups - 1) + 2] = value;
            }
            let state = PnpState {
                iterations,
                status,
                ..Default::default()
            };
            let memory = [("partials", Some(partials.clone())), ("history", None)];
            let got = run("pnp_control", &table, 1, Some(state), &memory, pixels);
            let sum = |k: usize| partials.iter().skip(k).step_by(4).map(|v| f64::from(*v)).sum::<f64>();
            let after: PnpState = bytemuck::cast_slice::<f32, PnpState>(&got[2])[0];
            let mut ring = poison(8);
            if status == 0 {
                // The order of additions loses no more than this.
                let tolerance = |value: f64| 32.0 * EPS * value;
                let want = [sum(0).sqrt(), sum(1).sqrt()];
                let place = iterations as usize % 4;
                assert_close("norms", &got[1][2 * place..2 * place + 2], &want, |k| {
                    tolerance(want[k])
                });
                assert_close("change", &[after.change], &[want[0] / want[1]], |_| {
                    tolerance(want[0] / want[1])
                });
                ring[2 * place..2 * place + 2].copy_from_slice(&got[1][2 * place..2 * place + 2]);
                let decided = match spoilt {
                    Some(_) => 2,
                    None => u32::from(want[0] / want[1] <= 1e-3),
                };
                assert_eq!((after.iterations, after.status), (iterations + 1, decided));
            } else {
                assert_eq!(after, state);
            }
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&got[1]), bits(&ring), "another place of the ring was written");
        }
    }
}

#[test]
fn the_proximal_operator_starts_and_steps() {
    let _turn = turn();
    for pixels in SIZES {
        let table = gpu()
            .params(&[ProxParams {
                pixels: pixels as u32,
                gamma: 0.7,
                keep: 0.3,
                add: 0.9,
            }])
            .unwrap();
        let groups = pixels.div_ceil(4096) as u32;
        let (gamma, keep, add) = (f64::from(0.7_f32), f64::from(0.3_f32), f64::from(0.9_f32));
        let wide = |v: &[f32], i: usize| f64::from(v[i]);
        let (z, back) = (values(1, pixels), values(2, pixels));
        let memory = [
            ("z", Some(z.clone())),
            ("back", Some(back.clone())),
            ("r", None),
            ("d", None),
            ("x", None),
        ];
        let got = run("prox_start", &table, groups, None, &memory, pixels);
        let b = |i: usize| [wide(&z, i), gamma * wide(&back, i)];
        let want: Vec<f64> = (0..pixels).map(|i| b(i).iter().sum()).collect();
        assert_close("r", &got[2], &want, |i| rounding(&b(i)));
        let first: Vec<f64> = want.iter().map(|b| add * b).collect();
        assert_close("d", &got[3], &first, |i| rounding(&b(i)));
        assert_close("x", &got[4], &first, |i| rounding(&b(i)));

        let [h, r, d, x] = [3, 4, 5, 6].map(|seed| values(seed, pixels));
        let memory = [
            ("h", Some(h.clone())),
            ("r", Some(r.clone())),
            ("d", Some(d.clone())),
            ("x", Some(x.clone())),
        ];
        let got = run("prox_step", &table, groups, None, &memory, pixels);
        let rest = |i: usize| [wide(&r, i), -wide(&d, i), -gamma * wide(&h, i)];
        let next = |i: usize| keep * wide(&d, i) + add * rest(i).iter().sum::<f64>();
        let off = |i: usize| rounding(&rest(i)) + rounding(&[wide(&d, i)]);
        assert_close(
            "r",
            &got[1],
            &(0..pixels).map(|i| rest(i).iter().sum()).collect::<Vec<_>>(),
            off,
        );
        assert_close("d", &got[2], &(0..pixels).map(next).collect::<Vec<_>>(), off);
        let sums: Vec<f64> = (0..pixels).map(|i| wide(&x, i) + next(i)).collect();
        assert_close("x", &got[3], &sums, |i| off(i) + rounding(&[wide(&x, i)]));
    }
}
