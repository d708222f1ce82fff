//! `compute.cuda_graphs`: what a half queues for a virtual rank is recorded once, and queued again by one call.
//!
//! Recorded is all between the sums: from z and the real samples, which lie where the recording has them, to what is
//! added to the sum. A virtual rank has a recording for each half, because its mark and whether it is the first of its sum
//! are part of it; they share their memory, so that a fake is kept from D's half to G's, and are replayed in the order in
//! which they were recorded. Sums and updates are no part of them.
//!
//! **Proved before it is used.** The first steps are queued call by call, which also lets libtorch choose its kernels. Then
//! one step is queued call by call *and* recorded and replayed on the same inputs, and the two sums must have the same
//! bits. Where they differ, or nothing can be recorded, it stays call by call, and a [`Notice`] says why.
//!
//! - this file: when what is done. `library`: libtorch's own recorder. [`rehearsal`]: stand-ins for tests.

mod library;
pub(crate) mod rehearsal;

use lsgan_spec::{Half, Step, VirtualRank};
use tch::Tensor;

use crate::lanes::{Lanes, Task};
use crate::on_device::OnDevice;
use crate::step::Lane;
use crate::sums::ControlWords;

pub use library::has_cuda_graphs;
pub(crate) use library::open;

/// Steps that are queued call by call before one is recorded.
const WARM_UP_STEPS: u32 = 2;

/// Records what is queued on a device.
pub(crate) trait Recorder: Send {
    /// Records what `work` queues, instead of doing it. All of a recorder are replayed in the order of recording.
    fn record(&mut self, work: &mut dyn FnMut()) -> Result<Box<dyn Recording>, String>;

    /// The next recordings have nothing to do with those before, which are dropped.
    fn begin_anew(&mut self);

    /// Gives memory back that only what is no longer done needs.
    fn tidy(&mut self) {}
}

/// What was recorded.
pub(crate) trait Recording: Send {
    /// Queues it. `work` is what was recorded, for stand-ins that have nothing else to do.
    fn replay(&self, work: &mut dyn FnMut()) -> Result<(), String>;
}

/// What a person is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// It is not as the run's file asks.
    pub is_warning: bool,
    /// A sentence.
    pub text: String,
}

/// How two sums are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Bit by bit.
    SameBits,
    /// Roughly: a device whose kernels are not deterministic has other bits each time.
    Close,
}

/// The recordings of a replica.
pub(crate) struct Graphs {
    recorder: Box<dyn Recorder>,
    proof: Proof,
    /// Its leaves are used by recordings alone: to libtorch a leaf belongs to the stream on which it was used first.
    lane: Lane,
    stage: Stage,
    /// One for each virtual rank, in the order of the half's tasks.
    ranks: Vec<OfRank>,
    real: Option<Tensor>,
    notice: Option<Notice>,
}

struct OfRank {
    rank: VirtualRank,
    z: Tensor,
    halves: [Option<Box<dyn Recording>>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// So many steps were queued call by call.
    WarmingUp(u32),
    /// D's half of this step is proved, G's is not.
    HalfProved(Step),
    /// Both are; D's half of this step was replayed last, and its fakes are kept.
    Proved(Option<Step>),
    /// It cannot be done here.
    GivenUp,
}

/// What a half is computed with.
pub(crate) struct Place<'a> {
    pub lanes: &'a mut Lanes,
    pub on_device: &'a mut OnDevice,
    pub half: Half,
    pub controls: ControlWords,
}

impl Place<'_> {
    /// Computes the whole half: `add` does that for its tasks.
    fn sum(&mut self, add: impl FnOnce(&mut Lanes, &mut OnDevice)) {
        self.on_device.begin(self.half, self.controls);
        add(self.lanes, self.on_device);
        self.on_device.end(self.half);
    }

    /// Call by call, on this thread.
    pub fn usual(&mut self, tasks: &[Task], after_first: &mut dyn FnMut()) {
        let half = self.half;
        let mut first = Some(after_first);
        self.sum(|lanes, on_device| {
            lanes.run_here(tasks, |contribution| {
                on_device.add(half, &contribution);
                if let Some(call) = first.take() {
                    call();
                }
            });
        });
    }
}

impl Graphs {
    /// `lane` is not used for anything else.
    pub fn new(recorder: Box<dyn Recorder>, lane: Lane, proof: Proof) -> Self {
        let stage = Stage::WarmingUp(0);
        Self { recorder, proof, lane, stage, ranks: vec![], real: None, notice: None }
    }

    /// What is to be said, once.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// The state is another one, or an update was not made: no fake is kept.
    pub fn forget(&mut self) {
        self.lane.forget();
        match self.stage {
            Stage::HalfProved(_) => self.begin_anew(),
            Stage::Proved(_) => self.stage = Stage::Proved(None),
            Stage::WarmingUp(_) | Stage::GivenUp => {}
        }
    }

    /// Computes a half, one way or the other.
    pub fn compute(&mut self, place: &mut Place, tasks: &[Task], after_first: &mut dyn FnMut()) {
        let Some(step) = tasks.first().map(Task::step) else { return place.usual(tasks, after_first) };
        let is_same = self.ranks.iter().map(|of| of.rank).eq(tasks.iter().map(Task::rank));
        match (self.stage, place.half) {
            (Stage::Proved(_), Half::Discriminator) if is_same => {
                self.stage = Stage::Proved(Some(step));
                self.replay_half(place, tasks, after_first);
            }
            (Stage::Proved(Some(of)), Half::Generator) if is_same && of == step => {
                self.replay_half(place, tasks, after_first);
            }
            (Stage::WarmingUp(steps), Half::Discriminator) if steps >= WARM_UP_STEPS => {
                self.begin_anew();
                self.prove(place, tasks, after_first, Stage::HalfProved(step));
            }
            (Stage::HalfProved(of), Half::Generator) if is_same && of == step => {
                self.prove(place, tasks, after_first, Stage::Proved(None));
            }
            (Stage::GivenUp, _) | (_, Half::Generator) => place.usual(tasks, after_first),
            // Other virtual ranks than before, or a step that was not ended.
            (Stage::Proved(_) | Stage::HalfProved(_) | Stage::WarmingUp(_), Half::Discriminator) => {
                let steps = match self.stage {
                    Stage::WarmingUp(steps) => steps + 1,
                    _ => 1,
                };
                self.begin_anew();
                self.stage = Stage::WarmingUp(steps);
                place.usual(tasks, after_first);
            }
        }
    }

    fn begin_anew(&mut self) {
        self.stage = Stage::WarmingUp(0);
        self.ranks.clear();
        self.real = None;
        self.lane.forget();
        self.recorder.begin_anew();
    }

    /// The half call by call, and once more recorded and replayed.
    fn prove(&mut self, place: &mut Place, tasks: &[Task], after_first: &mut dyn FnMut(), then: Stage) {
        place.usual(tasks, after_first);
        let wanted = place.on_device.copy_of_sum(place.half);
        let recorded = self.record_half(place, tasks);
        let found = place.on_device.copy_of_sum(place.half);
        match recorded.and_then(|()| self.compare(&wanted, &found)) {
            Ok(()) => {
                self.stage = then;
                if place.half == Half::Generator {
                    self.recorder.tidy();
                    let text = format!(
                        "the halves of {} virtual ranks are replayed as CUDA graphs from here on: one step gave the same \
                         sums both ways",
                        tasks.len()
                    );
                    self.notice = Some(Notice { is_warning: false, text });
                }
            }
            Err(why) => {
                place.on_device.put_sum(place.half, &wanted);
                self.begin_anew();
                self.stage = Stage::GivenUp;
                let text = format!(
                    "no CUDA graphs are used, though compute.cuda_graphs is auto: {why}; it is slower without"
                );
                self.notice = Some(Notice { is_warning: true, text });
            }
        }
    }

    fn record_half(&mut self, place: &mut Place, tasks: &[Task]) -> Result<(), String> {
        let mut outcome = Ok(());
        place.sum(|_, on_device| {
            outcome = tasks.iter().enumerate().try_for_each(|(at, task)| self.record(on_device, at, task));
        });
        outcome
    }

    fn record(&mut self, on_device: &mut OnDevice, at: usize, task: &Task) -> Result<(), String> {
        self.bring_inputs(at, task);
        let (recorder, of, real) = (&mut self.recorder, &mut self.ranks[at], self.real.as_ref());
        let lane = &mut self.lane;
        let mut work = || add(lane, on_device, task, &of.z, real);
        let recording = recorder.record(&mut work)?;
        recording.replay(&mut work)?;
        on_device.has_added(task.half());
        of.halves[task.half() as usize] = Some(recording);
        Ok(())
    }

    fn replay_half(&mut self, place: &mut Place, tasks: &[Task], after_first: &mut dyn FnMut()) {
        let mut first = Some(after_first);
        place.sum(|_, on_device| {
            for (at, task) in tasks.iter().enumerate() {
                self.bring_inputs(at, task);
                let (of, real, lane) = (&self.ranks[at], self.real.as_ref(), &mut self.lane);
                let recording = of.halves[task.half() as usize].as_ref().expect("a proved half is recorded");
                // As where libtorch fails else: a device that worked a step ago is broken.
                let replayed = recording.replay(&mut || add(lane, on_device, task, &of.z, real));
                replayed.unwrap_or_else(|why| panic!("a recorded half cannot be queued: {why}"));
                on_device.has_added(task.half());
                if let Some(call) = first.take() {
                    call();
                }
            }
        });
    }

    /// Puts z and the real samples where the recordings have them. G's half finds its z where D's had it.
    fn bring_inputs(&mut self, at: usize, task: &Task) {
        let Task::Discriminator { step, rank, real, .. } = task else { return };
        let z = self.lane.latent(*step, *rank);
        match self.ranks.get_mut(at) {
            Some(of) => of.z.copy_(&z),
            None => self.ranks.push(OfRank { rank: *rank, z: z.copy(), halves: [None, None] }),
        }
        let real = self.lane.carried(real);
        match &mut self.real {
            Some(place) => place.copy_(&real),
            // With the strides of the original.
            none => *none = Some(real.copy()),
        }
    }

    fn compare(&self, wanted: &Tensor, found: &Tensor) -> Result<(), String> {
        let differ = |what: &str| Err(format!("a recorded step gave {what}"));
        match self.proof {
            Proof::SameBits if !wanted.equal(found) => {
                differ("other bits than the same step queued call by call")
            }
            Proof::SameBits => Ok(()),
            Proof::Close => {
                let [wanted, found] = [wanted, found].map(|words| words.to_kind(tch::Kind::Double));
                let (off, most) = ((&wanted - &found).abs().max(), wanted.abs().max());
                let (off, most) = (off.double_value(&[]), most.double_value(&[]));
                if off <= 0.01 * most {
                    Ok(())
                } else {
                    differ("other sums than the same step queued call by call")
                }
            }
        }
    }
}

/// What is recorded: a virtual rank's half, from its inputs to the sum.
fn add(lane: &mut Lane, on_device: &mut OnDevice, task: &Task, z: &Tensor, real: Option<&Tensor>) {
    let contribution = match task {
        Task::Discriminator { step, rank, keep, .. } => {
            let real = real.expect("D's inputs were brought");
            lane.discriminator_on(*step, *rank, [z, real], *keep)
        }
        Task::Generator { step, rank } => lane.generator_on(*step, *rank, Some(z)),
    };
    on_device.add(task.half(), &contribution);
}

impl Task {
    fn half(&self) -> Half {
        match self {
            Self::Discriminator { .. } => Half::Discriminator,
            Self::Generator { .. } => Half::Generator,
        }
    }

    fn step(&self) -> Step {
        match self {
            Self::Discriminator { step, .. } | Self::Generator { step, .. } => *step,
        }
    }

    fn rank(&self) -> VirtualRank {
        match self {
            Self::Discriminator { rank, .. } | Self::Generator { rank, .. } => *rank,
        }
    }
}
