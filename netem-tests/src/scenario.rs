//! Named links: what `scenarios/*.toml` say, turned into the two directions' settings.
//! Running something across them is the carriers' matter.
//!
//! A new scenario is: one file in `scenarios/`, named for what it is.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rp_protocol::units::Bandwidth;
use serde::Deserialize;

use crate::{
    link::{LinkConfig, Spread, Step},
    loss::{GilbertElliott, Loss},
    quantity::{Queue, Rate, Share, Size, Time},
    queue::{Codel, Policer, QueueLimit},
};

/// A link with a name, both ways.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// One sentence for readers of a report.
    pub about: String,
    /// From the data's sender to its receiver.
    pub forward: LinkConfig,
    /// The way back.
    pub back: LinkConfig,
}

impl Scenario {
    /// Reads a scenario: a path, or the name of a file in the crate's `scenarios` folder.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        let given = Path::new(name_or_path);
        let path = if given.extension().is_some() {
            given.to_path_buf()
        } else {
            scenarios_dir().join(given).with_extension("toml")
        };
        let text = fs::read_to_string(&path).map_err(|error| ScenarioError {
            file: path.clone(),
            line: None,
            field: None,
            message: error.to_string(),
        })?;
        Self::parse(&path, &text)
    }

    /// Every scenario of the crate's folder, by name.
    pub fn all() -> Result<Vec<Self>, ScenarioError> {
        let dir = scenarios_dir();
        let listing = |error: std::io::Error| ScenarioError {
            file: scenarios_dir(),
            line: None,
            field: None,
            message: error.to_string(),
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&dir).map_err(listing)? {
            let path = entry.map_err(listing)?.path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        paths
            .iter()
            .map(|path| Self::load(&path.to_string_lossy()))
            .collect()
    }

    /// Reads a scenario from `text`; `file` gives its name and stands in errors.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ScenarioError> {
        let document: Document =
            toml::from_str(text).map_err(|error| ScenarioError::new(file, text, &error))?;
        let forward = document.link;
        let back = document
            .back
            .map_or_else(|| forward.clone(), |over| over.or(&forward));
        Ok(Self {
            name: file
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default(),
            about: document.about,
            forward: forward.config(&back),
            back: back.config(&forward),
        })
    }
}

fn scenarios_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// What is wrong with a scenario, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The field on that line.
    pub field: Option<String>,
    /// What is wrong, in words.
    pub message: String,
}

impl ScenarioError {
    fn new(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let line = error
            .span()
            .map(|span| text[..span.start.min(text.len())].matches('\n').count());
        let field = line
            .and_then(|line| text.lines().nth(line))
            .and_then(|line| line.split_once('='))
            .map(|(field, _)| field.trim().to_owned());
        Self {
            file: file.to_path_buf(),
            line: line.map(|line| line + 1),
            field,
            message: error.message().to_owned(),
        }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": field `{field}`")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ScenarioError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    about: String,
    /// Both ways, except where `back` differs.
    link: Direction,
    back: Option<Direction>,
}

/// One direction as written; what is absent is taken from the other or is the default.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Direction {
    rate: Option<Rate>,
    /// One way.
    delay: Option<Time>,
    queue: Option<Queue>,
    codel: Option<bool>,
    policer: Option<PolicerText>,
    mark_above: Option<Time>,
    loss: Option<Share>,
    /// Mean length of loss bursts in packets.
    burst: Option<f64>,
    gilbert_elliott: Option<GilbertElliottText>,
    jitter: Option<Time>,
    jitter_shape: Option<Shape>,
    jitter_reorders: Option<bool>,
    reorder: Option<Share>,
    reorder_by: Option<Time>,
    duplicate: Option<Share>,
    corrupt: Option<Share>,
    mtu: Option<Size>,
    step: Option<Vec<StepText>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    Uniform,
    Normal,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicerText {
    rate: Rate,
    burst: Size,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GilbertElliottText {
    enter_bad: Share,
    leave_bad: Share,
    loss_good: Share,
    loss_bad: Share,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    at: Time,
    rate: Option<Rate>,
    delay: Option<Time>,
    loss: Option<Share>,
    burst: Option<f64>,
}

/// Largest delay added to reordered packets where a scenario does not say.
const DEFAULT_REORDER_BY: Duration = Duration::from_millis(10);

impl Direction {
    /// This direction, with `other`'s settings where it has none.
    fn or(self, other: &Self) -> Self {
        let other = other.clone();
        // Loss is one setting of three spellings: an own rate of loss must not inherit a burst.
        let own_loss = self.loss.is_some() || self.gilbert_elliott.is_some();
        let inherited_loss = if own_loss { None } else { other.loss };
        let inherited_burst = if own_loss { None } else { other.burst };
        let inherited_states = if own_loss {
            None
        } else {
            other.gilbert_elliott
        };
        Self {
            rate: self.rate.or(other.rate),
            delay: self.delay.or(other.delay),
            queue: self.queue.or(other.queue),
            codel: self.codel.or(other.codel),
            policer: self.policer.or(other.policer),
            mark_above: self.mark_above.or(other.mark_above),
            loss: self.loss.or(inherited_loss),
            burst: self.burst.or(inherited_burst),
            gilbert_elliott: self.gilbert_elliott.or(inherited_states),
            jitter: self.jitter.or(other.jitter),
            jitter_shape: self.jitter_shape.or(other.jitter_shape),
            jitter_reorders: self.jitter_reorders.or(other.jitter_reorders),
            reorder: self.reorder.or(other.reorder),
            reorder_by: self.reorder_by.or(other.reorder_by),
            duplicate: self.duplicate.or(other.duplicate),
            corrupt: self.corrupt.or(other.corrupt),
            mtu: self.mtu.or(other.mtu),
            step: self.step.or(other.step),
        }
    }

    /// The settings, where `back` is the other direction of the round trip.
    fn config(&self, back: &Self) -> LinkConfig {
        let time = |field: Option<Time>| field.map_or(Duration::ZERO, |time| time.0);
        let share = |field: Option<Share>| field.map_or(0.0, |share| share.0);
        let delay = time(self.delay);
        let mut config = match self.rate {
            Some(Rate(rate)) => LinkConfig::new(rate, delay).queue(round_trip_limit(
                self.queue.map_or(QueueLimit::Bdp(1.0), |queue| queue.0),
                rate,
                delay + time(back.delay),
            )),
            None => LinkConfig::unlimited(delay),
        };
        config = config
            .loss(self.loss())
            .duplicate(share(self.duplicate))
            .corrupt(share(self.corrupt))
            .steps(self.step.iter().flatten().map(StepText::step).collect());
        if self.codel == Some(true) {
            config = config.codel(Codel::default());
        }
        if let Some(policer) = &self.policer {
            config = config.policer(Policer {
                rate: policer.rate.0,
                burst_bytes: policer.burst.0,
            });
        }
        if let Some(Time(wait)) = self.mark_above {
            config = config.mark_above(wait);
        }
        if let Some(Time(width)) = self.jitter {
            let spread = match self.jitter_shape {
                Some(Shape::Normal) => Spread::Normal(width),
                Some(Shape::Uniform) | None => Spread::Uniform(width),
            };
            config = config.jitter(spread, self.jitter_reorders != Some(true));
        }
        if let Some(Share(probability)) = self.reorder {
            let extra = self.reorder_by.map_or(DEFAULT_REORDER_BY, |time| time.0);
            config = config.reorder(probability, extra);
        }
        if let Some(Size(mtu)) = self.mtu {
            config = config.mtu(usize::try_from(mtu).unwrap_or(usize::MAX));
        }
        config
    }

    fn loss(&self) -> Loss {
        match (&self.gilbert_elliott, self.loss) {
            (Some(states), _) => Loss::GilbertElliott(GilbertElliott {
                enter_bad: states.enter_bad.0,
                leave_bad: states.leave_bad.0,
                loss_good: states.loss_good.0,
                loss_bad: states.loss_bad.0,
            }),
            (None, Some(Share(p))) => loss_of(p, self.burst),
            (None, None) => Loss::None,
        }
    }
}

impl StepText {
    fn step(&self) -> Step {
        Step {
            at: self.at.0,
            rate: self.rate.map(|rate| rate.0),
            delay: self.delay.map(|delay| delay.0),
            loss: self.loss.map(|Share(p)| loss_of(p, self.burst)),
        }
    }
}

fn loss_of(p: f64, burst: Option<f64>) -> Loss {
    burst.map_or_else(|| Loss::bernoulli(p), |packets| Loss::bursts(p, packets))
}

/// A limit in bandwidth-delay products in bytes: the link knows only its own delay, not the way back's.
fn round_trip_limit(limit: QueueLimit, rate: Bandwidth, round_trip: Duration) -> QueueLimit {
    match limit {
        QueueLimit::Bdp(factor) => QueueLimit::Bytes(rate.scaled(factor).bytes_in(round_trip)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
