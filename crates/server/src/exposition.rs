//! Everything that the server measures: `/metrics` and the rules of alerts have the same.

use tidegate_serving::Exposition;

use crate::app::App;

impl App {
    /// Writes every metric, with all requests that were answered before.
    pub(crate) fn expose(&self, out: &mut dyn Exposition) {
        self.refresh_gauges();
        self.registry.expose(out);
    }
}
