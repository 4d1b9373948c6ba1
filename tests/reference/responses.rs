//! Responses of a bank in memory with gaps, and the sums over them that the device has to find, from the hinge formula.

use knotwork::filters::Region;
use knotwork::spline::Spline;

use super::Hinges;
use crate::common::{EPS, poison, values};

/// Channels with their splines and scalings, and where their responses lie.
pub struct Setting {
    pub name: &'static str,
    pub splines: Vec<Spline>,
    pub channels: usize,
    pub alphas: Vec<f32>,
    pub slots: usize,
    pub region: Region,
}

/// One element of the region.
#[derive(Clone, Copy)]
pub struct Element {
    pub index: usize,
    pub slot: usize,
    pub channel: usize,
    pub inside: bool,
}

/// Frames of `rows` x `cols` with margins everywhere and an image that covers part of them.
pub fn frames(channels: usize, rows: u32, cols: u32) -> Region {
    let row_stride = cols + 4;
    let plane_stride = row_stride * (rows + 2);
    Region {
        rows,
        cols,
        first: row_stride + 3,
        row_stride,
        plane_stride,
        image_stride: plane_stride * channels as u32 + 11,
        inside_top: 1,
        inside_left: 2,
        inside_rows: rows - 2,
        inside_cols: cols - 3,
        ..Default::default()
    }
}

/// A batch of vectors (batch, channel).
pub fn vectors(channels: usize, batch: u32) -> Region {
    let channels = channels as u32;
    Region {
        rows: batch,
        cols: 1,
        row_stride: channels,
        plane_stride: 1,
        image_stride: channels * batch,
        inside_rows: batch,
        inside_cols: 1,
        ..Default::default()
    }
}

impl Setting {
    pub fn spline(&self, channel: usize) -> usize {
        channel.min(self.splines.len() - 1)
    }

    pub fn alpha(&self, e: Element) -> f64 {
        let shared = self.alphas.len() == self.channels;
        f64::from(
            self.alphas[if shared {
                e.channel
            } else {
                e.slot * self.channels + e.channel
            }],
        )
    }

    pub fn elements(&self) -> Vec<Element> {
        let r = self.region;
        let mut all = Vec::new();
        for slot in 0..self.slots {
            for channel in 0..self.channels {
                for row in 0..r.rows {
                    for col in 0..r.cols {
                        let inside = (r.inside_top..r.inside_top + r.inside_rows).contains(&row)
                            && (r.inside_left..r.inside_left + r.inside_cols).contains(&col);
                        let index = r.first
                            + slot as u32 * r.image_stride
                            + channel as u32 * r.plane_stride
                            + row * r.row_stride
                            + col;
                        all.push(Element {
                            index: index as usize,
                            slot,
                            channel,
                            inside,
                        });
                    }
                }
            }
        }
        all
    }

    /// Values inside the image: some on knots, most between them, some far outside; NaN everywhere else, so that a sum
    /// that reads there shows.
    pub fn inputs(&self, seed: u64) -> Vec<f32> {
        let elements = self.elements();
        let mut all = poison(elements.iter().map(|e| e.index).max().unwrap() + 1 + 70);
        for (i, (e, v)) in elements.iter().zip(values(seed, elements.len())).enumerate() {
            if e.inside {
                let knots = self.splines[self.spline(e.channel)].knots();
                all[e.index] = match i % 7 {
                    0 => (knots[i / 7 % knots.len()] / self.alpha(*e)) as f32,
                    1 => 12.0 * v,
                    _ => 4.0 * v,
                };
            }
        }
        all
    }

    /// Upstream gradients inside the image, NaN everywhere else.
    pub fn upstream(&self, seed: u64, inputs: &[f32]) -> Vec<f32> {
        let mut all = poison(inputs.len());
        let elements = self.elements();
        for (e, v) in elements
            .iter()
            .zip(values(seed, elements.len()))
            .filter(|(e, _)| e.inside)
        {
            all[e.index] = v;
        }
        all
    }

    /// `y` and the bound of its error, per element; 0 outside the image.
    pub fn outputs(&self, u: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let hinges: Vec<_> = self.splines.iter().map(Hinges::new).collect();
        let of = |e: &Element| {
            if !e.inside {
                return (0.0, 0.0);
            }
            let alpha = self.alpha(*e);
            let x = alpha * f64::from(u[e.index]);
            let (h, value) = (&hinges[self.spline(e.channel)], hinges[self.spline(e.channel)].value(x));
            let error = h.value_error(x, EPS * x.abs()) + 3.0 * EPS * value.abs();
            (value / alpha, error / alpha)
        };
        self.elements().iter().map(of).unzip()
    }

    /// Gradients with respect to the values, entry by entry, and to the scalings, with the bounds of their errors; `depth`
    /// is the number of additions that an element passes through on the device.
    pub fn gradients(&self, u: &[f32], g: &[f32], depth: usize) -> [(Vec<f64>, Vec<f64>); 2] {
        // The hat of knot n is the spline that is 1 there and 0 at the others.
        let hats: Vec<Vec<Hinges>> = self.splines.iter().map(hats).collect();
        let hinges: Vec<_> = self.splines.iter().map(Hinges::new).collect();
        let firsts = self.splines.iter().scan(0, |sum, s| {
            *sum += s.len();
            Some(*sum - s.len())
        });
        let firsts: Vec<_> = firsts.collect();
        let entries = self.splines.iter().map(Spline::len).sum();
        let (mut values, mut alphas) = (
            (vec![0.0; entries], vec![0.0; entries]),
            (vec![0.0; self.alphas.len()], vec![0.0; self.alphas.len()]),
        );
        let rounding = EPS * (depth + 12) as f64;
        for e in self.elements().iter().filter(|e| e.inside) {
            let (alpha, spline) = (self.alpha(*e), self.spline(e.channel));
            let x = alpha * f64::from(u[e.index]);
            let weight = f64::from(g[e.index]) / alpha;
            let s = &self.splines[spline];
            let t = s.knots();
            let j = t.partition_point(|t| *t <= x).saturating_sub(1).min(t.len() - 2);
            // The argument is rounded once, which moves it by this much, perhaps across a knot.
            let moved = 2.0 * EPS * x.abs();
            let around = j.saturating_sub(1)..(j + 2).min(t.len() - 1);
            let narrowest = around.clone().map(|k| t[k + 1] - t[k]).fold(f64::INFINITY, f64::min);
            let reach = 1.0 + (x - t[j]).abs() / (t[j + 1] - t[j]);
            for (n, hat) in hats[spline].iter().enumerate().take(around.end + 1).skip(around.start) {
                values.0[firsts[spline] + n] += weight * hat.value(x);
                values.1[firsts[spline] + n] += weight.abs() * (rounding * reach + moved / narrowest);
            }
            let at = if self.alphas.len() == self.channels {
                e.channel
            } else {
                e.slot * self.channels + e.channel
            };
            let (h, f) = (&hinges[spline], s.values());
            let slope = h.slope(x);
            alphas.0[at] += weight / alpha * (slope * x - h.value(x));
            let size = f[j].abs() + slope.abs() * t[j].abs();
            let jump = if moved > 0.0 && self.exact(alpha) {
                0.0
            } else {
                h.jump(x, moved) * x.abs()
            };
            alphas.1[at] += (weight / alpha).abs() * (size * rounding + jump);
        }
        [values, alphas]
    }

    /// Whether a product with `alpha` is exact in f32.
    fn exact(&self, alpha: f64) -> bool {
        alpha.log2().fract() == 0.0
    }

    /// Inputs left of, between and from the knots on, spline by spline, arguments rounded as on the device.
    pub fn histograms(&self, u: &[f32]) -> Vec<Vec<f64>> {
        let mut counts: Vec<Vec<f64>> = self.splines.iter().map(|s| vec![0.0; s.len() + 1]).collect();
        for e in self.elements().iter().filter(|e| e.inside) {
            let x = f64::from(self.alpha(*e) as f32 * u[e.index]);
            let spline = self.spline(e.channel);
            let bin = self.splines[spline].knots().iter().filter(|t| **t <= x).count();
            counts[spline][bin] += 1.0;
        }
        counts
    }
}

pub fn hats(s: &Spline) -> Vec<Hinges> {
    (0..s.len())
        .map(|n| {
            let unit = (0..s.len()).map(|k| if k == n { 1.0 } else { 0.0 }).collect();
            Hinges::new(&Spline::new(s.knots().to_vec(), unit).unwrap())
        })
        .collect()
}
