//! Spans for a collector of OpenTelemetry: one for each turn. Owns when they are sent, and their end.
//!
//! Invariant: without the feature `otlp`, or without the collector's address in the environment, no span is made. A
//! collector that is slow or away costs spans, never a turn. It does not know what a turn is.
//!
//! The variables are OpenTelemetry's own (its specification, "OTLP exporter configuration"):
//! `OTEL_EXPORTER_OTLP_ENDPOINT` turns it on. `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and the rest
//! have their usual meaning. `OTEL_BSP_MAX_QUEUE_SIZE` bounds the waiting spans, by default 2048. More are dropped,
//! and counted in a warning.

/// The variables that turn spans on and name the collector.
const ADDRESSES: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Returns true if the environment asks for spans.
fn is_wanted() -> bool {
    ADDRESSES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(feature = "otlp")]
mod exporter {
    use super::is_wanted;
    use crate::codes::Code;
    use crate::mistake::Mistake;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::Subscriber;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::Layer;
    use tracing_subscriber::registry::LookupSpan;

    /// The service's name unless the environment has another one.
    const SERVICE: &str = "room";

    /// Sends spans until it is dropped, and the last ones then.
    #[derive(Default)]
    pub(crate) struct Traces(Option<SdkTracerProvider>);

    impl Drop for Traces {
        fn drop(&mut self) {
            // Nobody is left to act on an error.
            let _nobody_asks = self.0.take().map(|provider| provider.shutdown());
        }
    }

    /// Returns the layer that makes spans for the collector that the environment names, if it names one.
    ///
    /// # Errors
    /// A mistake: the variables about the collector are invalid.
    pub(crate) fn from_env<S>() -> anyhow::Result<(impl Layer<S>, Traces)>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let (mut layer, mut read, mut traces) = (None, Targets::new(), Traces::default());
        if is_wanted() {
            let provider = provider()?;
            let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer(SERVICE));
            layer = Some(spans.with_location(false).with_threads(false));
            read = read.with_target("room_", tracing::Level::DEBUG);
            traces = Traces(Some(provider));
        }
        // The filter is there without the layer, too: a layer without a filter would have every span made.
        Ok((layer.with_filter(read), traces))
    }

    fn provider() -> anyhow::Result<SdkTracerProvider> {
        let exporter = SpanExporter::builder().with_http().build().map_err(|err| {
            Mistake::new(Code::BadUrl, format_args!("no spans can be sent: {err}"))
                .help("set OTEL_EXPORTER_OTLP_ENDPOINT to a URL such as http://localhost:4318")
        })?;
        let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
        let resource = Resource::builder();
        let resource = if named { resource } else { resource.with_service_name(SERVICE) };
        let provider = SdkTracerProvider::builder().with_resource(resource.build());
        Ok(provider.with_batch_exporter(exporter).build())
    }
}

#[cfg(not(feature = "otlp"))]
mod exporter {
    use super::is_wanted;
    use crate::print::{self, WARN, styled};
    use tracing::Subscriber;
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::{Identity, Layer};
    use tracing_subscriber::registry::LookupSpan;

    /// Nothing: this `room` sends no spans.
    pub(crate) struct Traces;

    /// Prints a warning if the environment asks for spans, which this `room` does not send.
    ///
    /// # Errors
    /// Never.
    pub(crate) fn from_env<S>() -> anyhow::Result<(impl Layer<S>, Traces)>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        if is_wanted() {
            let text = "no spans are sent: this `room` was built without `--features otlp`";
            print::talk(styled(WARN, text));
        }
        // With a filter: a layer without one would have every span made.
        Ok((Identity::new().with_filter(LevelFilter::OFF), Traces))
    }
}

pub(crate) use exporter::{Traces, from_env};
