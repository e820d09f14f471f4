//! The window curve of RFC 9438: growth toward and beyond the last maximum, and the cut.
//! When to cut, slow start and pacing belong to the controllers that own a curve.

/// RFC 9438 section 4.1: the constant that scales the curve, segments per second cubed.
const C: f64 = 0.4;
/// RFC 9438 section 4.6: what a cut leaves.
const BETA: f64 = 0.7;
/// RFC 9438 section 4.3: additive increase that matches Reno on average, 3 (1 - beta) / (1 + beta).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// A CUBIC window in packets, time in seconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::congestion) struct Curve {
    window: f64,
    /// Window just before the last cut, or lower by fast convergence.
    maximum: f64,
    /// What Reno would have.
    friendly: f64,
    /// Window at the last cut: Reno's slope holds up to it.
    prior: f64,
    /// Age of the epoch; it stands still while the window is not used.
    age: f64,
    /// Time from the cut to the old maximum.
    k: f64,
}

impl Curve {
    /// An epoch that begins at `window` and aims at `maximum`.
    pub(in crate::congestion) fn new(window: f64, maximum: f64) -> Self {
        let mut curve = Self {
            window,
            maximum: maximum.max(window),
            friendly: window,
            prior: maximum.max(window),
            age: 0.0,
            k: 0.0,
        };
        curve.k = ((curve.maximum - window) / C).max(0.0).cbrt();
        curve
    }

    /// Packets that may be in flight.
    pub(in crate::congestion) fn window(&self) -> f64 {
        self.window
    }

    /// Move the window without ending the epoch.
    pub(in crate::congestion) fn set_window(&mut self, window: f64) {
        self.window = window;
        self.friendly = self.friendly.min(window);
    }

    /// `acked` packets came back while the window was in use, `elapsed` seconds after the last call.
    pub(in crate::congestion) fn grow(&mut self, acked: f64, elapsed: f64, rtt: f64) {
        self.age += elapsed;
        let slope = if self.friendly < self.prior {
            ALPHA
        } else {
            1.0
        };
        self.friendly += slope * acked / self.window.max(1.0);
        let ahead = self.age + rtt - self.k;
        let target =
            (C * ahead * ahead * ahead + self.maximum).clamp(self.window, 1.5 * self.window);
        self.window += (target - self.window) * acked / self.window.max(1.0);
        let now = self.age - self.k;
        if C * now * now * now + self.maximum < self.friendly {
            self.window = self.window.max(self.friendly);
        }
    }

    /// Time passes without the window being used: it follows the curve, growing at most by half in a
    /// round trip.
    pub(in crate::congestion) fn age(&mut self, elapsed: f64) {
        self.age += elapsed;
        let ahead = self.age - self.k;
        let target = C * ahead * ahead * ahead + self.maximum;
        self.window = target.clamp(self.window, 1.5 * self.window);
    }

    /// Congestion: a new epoch at 0.7 of the window, not below `floor`.
    pub(in crate::congestion) fn cut(&mut self, floor: f64) {
        self.cut_to(BETA, floor, 0.0);
    }

    /// The same at `beta` of the window, aiming at a window of `aim` at least.
    pub(in crate::congestion) fn cut_to(&mut self, beta: f64, floor: f64, aim: f64) {
        let before = self.window;
        // Fast convergence (RFC 9438 section 4.7): a window that stopped short of its last maximum
        // shares the link and makes room.
        let maximum = if before < self.maximum {
            before * (1.0 + beta) / 2.0
        } else {
            before
        };
        *self = Self::new((before * beta).max(floor), maximum.max(aim));
        self.prior = before;
    }
}
