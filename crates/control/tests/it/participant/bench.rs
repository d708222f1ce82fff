//! A worker's machine on a bench.

use lsgan_control::ParkReason;
use lsgan_control::member::{Effect, Event, Identity, Participant, Wishes};
use lsgan_control::{Form, Hello, Member, Message, Pass, PassKey, Report, Rights, RingKey, Start};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};

/// A worker, and what it ever wanted done since the last look.
pub struct Bench {
    pub worker: Participant,
    pub effects: Vec<Effect>,
}

impl Bench {
    pub fn new() -> Self {
        let identity = Identity { name: "w1".to_owned(), ..Identity::default() };
        Self { worker: Participant::new(identity), effects: Vec::new() }
    }

    /// Connected, and admitted under this incarnation.
    pub fn admitted(incarnation: u64) -> Self {
        let mut bench = Self::new();
        bench.connect();
        bench.welcome(incarnation, false);
        bench
    }

    /// It steps in this generation, and holds a state of so many reductions.
    pub fn stepping(generation: u64, applied: u64) -> Self {
        let mut bench = Self::admitted(1);
        bench.form(generation);
        bench.say(Report::Ready { generation: Generation(generation), applied: Reduction(applied) });
        bench.worker.take_mail();
        bench.effects.clear();
        bench
    }

    /// Applies an event and returns what follows from it.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        self.worker.apply(event, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    pub fn connect(&mut self) -> Vec<Effect> {
        self.apply(Event::Connected { spec: "file".to_owned() })
    }

    pub fn tell(&mut self, message: Message) -> Vec<Effect> {
        self.apply(Event::Told(message))
    }

    pub fn say(&mut self, report: Report) -> Vec<Effect> {
        self.apply(Event::Said(report))
    }

    pub fn welcome(&mut self, incarnation: u64, adopted: bool) -> Vec<Effect> {
        self.tell(Message::Welcome {
            incarnation: Incarnation(incarnation),
            adopted,
            pass: pass(incarnation, 0),
        })
    }

    pub fn form(&mut self, generation: u64) -> Vec<Effect> {
        self.tell(Message::Form(form(generation)))
    }

    pub fn park(&mut self, generation: u64, applied: Option<u64>) -> Vec<Effect> {
        self.say(parked(generation, applied))
    }

    pub fn retire(&mut self) -> Vec<Effect> {
        self.tell(Message::Retired { why: "silent".to_owned() })
    }

    pub fn wishes(&self, generation: u64) -> Wishes {
        self.worker.wishes(Generation(generation))
    }

    /// Connects again; returns what it says of itself.
    pub fn hello(&mut self) -> Hello {
        match &self.connect()[..] {
            [Effect::Send(Report::Hello(hello)), ..] => hello.clone(),
            other => panic!("a Hello comes first, not {other:?}"),
        }
    }
}

pub fn form(generation: u64) -> Form {
    let member = |incarnation| Member {
        incarnation: Incarnation(incarnation),
        address: "10.0.0.1:4000".to_owned(),
        first: VirtualRank(0),
        count: 1,
    };
    Form {
        generation: Generation(generation),
        rank: 0,
        members: vec![member(1), member(2)],
        from: Reduction(0),
        start: Start::Fresh,
        root: None,
        writer: Some(0),
        last_step: Step(10),
        leases: vec![(VirtualRank(0), 4)],
        pass: pass(1, generation),
        ring: RingKey::default(),
    }
}

pub fn pass(incarnation: u64, generation: u64) -> Pass {
    let (incarnation, generation) = (Incarnation(incarnation), Generation(generation));
    PassKey::default().seal(Rights { incarnation, generation, ..Rights::default() })
}

pub fn shown(incarnation: u64, generation: u64) -> Option<Box<Pass>> {
    Some(Box::new(pass(incarnation, generation)))
}

pub fn parked(generation: u64, applied: Option<u64>) -> Report {
    let applied = applied.map(Reduction);
    Report::Parked { generation: Generation(generation), applied, reason: ParkReason::Boundary }
}

pub fn consumed(ordinals: u64) -> Report {
    Report::Consumed { virtual_rank: VirtualRank(0), ordinals }
}
