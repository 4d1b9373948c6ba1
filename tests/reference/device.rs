//! Runs a model on the device, outputs poisoned and guarded.

use knotwork::gpu::{Buffer, Gpu, Recorder};
use knotwork::model::Ridge;
use knotwork::model::device::{Extra, Images, RidgeOnDevice, RunOptions};

#[allow(unused_imports, reason = "each test file uses its own part")]
pub use crate::common::turn;
use crate::common::{poison, poisoned};

const GUARD: usize = 67;

/// Images, directions and results on a device.
pub struct Bench<'g> {
    gpu: &'g Gpu,
    size: [usize; 2],
    slots: usize,
    source: Buffer,
    direction: Buffer,
    active: Buffer,
    result: Buffer,
}

pub fn options(sigma: f64) -> RunOptions {
    RunOptions {
        sigma,
        style: None,
        tile: None,
    }
}

impl<'g> Bench<'g> {
    /// Slot `s` will work on image `active[s]`.
    pub fn new(gpu: &'g Gpu, size: [usize; 2], images: &[Vec<f32>], directions: &[Vec<f32>], active: &[u32]) -> Self {
        Self {
            gpu,
            size,
            slots: active.len(),
            source: gpu.upload("source", &images.concat()).unwrap(),
            direction: gpu.upload("direction", &directions.concat()).unwrap(),
            active: gpu.upload("active", active).unwrap(),
            result: gpu.buffer("result", active.len() * size[0] * size[1] + GUARD).unwrap(),
        }
    }

    pub fn prepare(&self, model: &Ridge, options: &RunOptions) -> RidgeOnDevice {
        let images = Images {
            height: self.size[0],
            width: self.size[1],
            source: &self.source,
            active: &self.active,
            slots: self.slots,
        };
        RidgeOnDevice::new(
            self.gpu,
            model,
            options,
            &images,
            &self.result,
            Extra::Hessian(&self.direction),
        )
        .unwrap()
    }

    /// Poisons the result, records, and returns the first `slots` images of it; the rest must stay untouched.
    fn result(&self, slots: usize, record: impl FnOnce(&mut Recorder<'_>)) -> Vec<f32> {
        self.gpu.write(&self.result, &poison(self.result.len())).unwrap();
        let mut recorder = self.gpu.record();
        record(&mut recorder);
        recorder.submit();
        let mut all: Vec<f32> = self.gpu.read(&self.result).unwrap();
        let rest = all.split_off(slots * self.size[0] * self.size[1]);
        assert!(rest.iter().all(|v| poisoned(*v)), "written behind slot {slots}");
        all
    }

    pub fn gradient(&self, model: &RidgeOnDevice, slots: usize) -> Vec<f32> {
        self.result(slots, |recorder| model.record_gradient(recorder, slots as u32))
    }

    pub fn gram(&self, model: &RidgeOnDevice) -> Vec<f32> {
        self.result(self.slots, |recorder| model.record_gram(recorder, self.slots as u32))
    }

    pub fn hessian(&self, model: &RidgeOnDevice) -> Vec<f32> {
        self.result(self.slots, |recorder| {
            model.record_hessian(recorder, self.slots as u32).unwrap();
        })
    }

    /// One energy per slot; other slots' must stay untouched.
    pub fn energy(&self, model: &RidgeOnDevice, slots: usize) -> Vec<f32> {
        self.gpu
            .write(model.energies(), &poison(model.energies().len()))
            .unwrap();
        let mut recorder = self.gpu.record();
        model.record_energy(&mut recorder, slots as u32);
        recorder.submit();
        let all: Vec<f32> = self.gpu.read(model.energies()).unwrap();
        assert!(all[4 * slots..].iter().all(|v| poisoned(*v)));
        all.chunks(4).take(slots).map(|sums| sums[0]).collect()
    }
}
