//! What the demo has done so far, and how long it took.

use std::time::{Duration, Instant};

use anyhow::bail;

/// How long a role may take to become ready before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints a line for each step that is done, with its time.
pub struct Steps {
    started: Instant,
    last: Instant,
}

impl Steps {
    /// Starts the clock.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { started: now, last: now }
    }

    /// A step is done: prints it with the time since the one before.
    pub fn done(&mut self, what: &str) {
        let now = Instant::now();
        println!("{:>6.1} s  {what}", (now - self.last).as_secs_f64());
        self.last = now;
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The present step is still going on: prints what it waits for.
    pub fn waiting(&self, for_what: &str) {
        eprintln!("{:>6.1} s  … {for_what}", self.last.elapsed().as_secs_f64());
    }

    /// Waits until a role has its certificate and its lists, telling every few seconds what it waits for.
    pub async fn until_ready(&self, role: &str, health_port: u16) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{health_port}/readyz");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let started = self.elapsed();
        let mut looks = 0_u32;
        loop {
            let state = match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(_) => "it does not answer yet".into(),
            };
            if self.elapsed() - started > PATIENCE {
                bail!("the {role} is not ready after {} s: {}", PATIENCE.as_secs(), state.trim());
            }
            looks += 1;
            if looks.is_multiple_of(20) {
                self.waiting(&format!("waiting for the {role}: {}", state.trim()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
