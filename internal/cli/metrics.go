package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// metricFlags say where Prometheus finds the metrics.
type metricFlags struct {
	MetricsAddr string `help:"Serve Prometheus metrics at this address, under /metrics." env:"NODESTORE_METRICS_ADDR" placeholder:"HOST:PORT"`
}

// sheet writes metrics that are read when they are asked for. Names and units follow
// Prometheus' conventions.
type sheet struct {
	prefix string
	values chan<- prometheus.Metric
}

func (s sheet) send(kind prometheus.ValueType, name, help string, value float64, labels prometheus.Labels) {
	s.values <- prometheus.MustNewConstMetric(prometheus.NewDesc(s.prefix+name, help, nil, labels), kind, value)
}

func (s sheet) gauge(name, help string, value float64) {
	s.send(prometheus.GaugeValue, name, help, value, nil)
}

func (s sheet) counter(name, help string, value int64) {
	s.send(prometheus.CounterValue, name, help, float64(value), nil)
}

// by writes a metric with one label.
func by[K ~string](s sheet, name, help, label string, values map[K]int64) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		s.send(prometheus.GaugeValue, name, help, float64(values[key]), prometheus.Labels{label: string(key)})
	}
}

// build says what runs.
func (s sheet) build() {
	labels := prometheus.Labels{"version": "unknown", "revision": "", "goversion": runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"] = info.Main.Version
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				labels["revision"] = setting.Value
			}
		}
	}
	s.send(prometheus.GaugeValue, "build_info", "1, with what was built as labels.", 1, labels)
}

// governed says what the governor lets through.
func (s sheet) governed(g governor.State) {
	s.gauge("senders_allowed", "Requests that may be under way at present.", float64(g.Senders))
	s.gauge("senders_active", "Requests that are under way.", float64(g.Active))
	s.gauge("held", "1 while no request may start.", map[bool]float64{true: 1}[g.Held != ""])
}

// saved says when the checkpoint was written.
func (s sheet) saved(state *checkpoint.State) {
	at := 0.0
	if !state.Saved.IsZero() {
		at = float64(state.Saved.UnixMicro()) / 1e6
	}
	s.gauge("checkpoint_saved_timestamp_seconds", "When the checkpoint was last saved, since 1970.", at)
}

// counters count what happens, each kind from zero on.
func counters[K ~string](prefix string, kinds []K) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "events_total", Help: "What happened, by its kind."}, []string{"event"})
	for _, kind := range kinds {
		c.WithLabelValues(string(kind))
	}
	return c
}

// metrics are read from the parts of a running copy whenever they are asked for.
type metrics struct {
	migration  *migrate.Migration
	checkpoint *checkpoint.Checkpoint
	rejects    *migrate.Rejects
	governor   *governor.Governor
	events     *prometheus.CounterVec
	bulks      prometheus.Histogram
	caughtUp   atomic.Int64 // up to when all is copied, in µs since 1970; 0: this run has not told yet
}

const migratePrefix = "nodestore_migrate_"

func newMetrics(m *migrate.Migration, s *session, g *governor.Governor) *metrics {
	return &metrics{
		migration: m, checkpoint: s.Checkpoint, rejects: s.Rejects, governor: g,
		events: counters(migratePrefix, append(migrate.Kinds(), heldEvent, limitsEvent, shardEvent)),
		bulks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: migratePrefix + "bulk_duration_seconds", Help: "How long bulk requests took, with their repetitions.",
			Buckets: prometheus.ExponentialBuckets(0.02, 2, 13), // to 82 s
		}),
	}
}

// event counts what happens.
func (m *metrics) event(e migrate.Event) {
	m.events.WithLabelValues(string(e.Kind)).Inc()
	if e.Kind == migrate.CaughtUp {
		m.caughtUp.Store(time.Now().Add(-e.Behind).UnixMicro())
	}
}

// Describe is part of prometheus.Collector.
func (m *metrics) Describe(descriptions chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, descriptions)
}

// Collect is part of prometheus.Collector.
func (m *metrics) Collect(values chan<- prometheus.Metric) {
	s := sheet{migratePrefix, values}
	p, g := m.migration.Progress(), m.governor.State()
	s.build()
	s.gauge("planned_bytes", "Bytes of data to be copied in all; an estimate until each day has begun.", float64(p.PlannedBytes))
	s.gauge("done_bytes", "Bytes of data that are copied, by earlier runs too.", float64(p.DoneBytes))
	s.gauge("done_nodes", "Nodes that have their fate, by earlier runs too.", float64(p.DoneNodes))
	s.counter("sent_bytes_total", "Bytes of data that this run has sent.", p.SentBytes)
	s.counter("sent_nodes_total", "Nodes that this run has sent.", p.SentNodes)
	s.governed(g)
	s.gauge("batch_bytes", "Size of a bulk request's body at present.", float64(g.BatchBytes))
	m.recorded(s)
	count, err := m.rejects.Reasons(context.Background())
	if err != nil {
		values <- prometheus.NewInvalidMetric(prometheus.NewDesc(s.prefix+"rejected_nodes", "", nil, nil), err)
		return
	}
	for _, reason := range reasons() {
		count[reason] += 0 // each is there from the start
	}
	by(s, "rejected_nodes", "Nodes that are listed as rejected, by reason.", "reason", count)
}

// recorded is what the checkpoint knows.
func (m *metrics) recorded(s sheet) {
	fates, days := map[string]int64{}, map[string]int64{"open": 0, "sealed": 0, "compact": 0}
	m.checkpoint.View(func(state *checkpoint.State) {
		var sum node.Fates
		for _, d := range state.Days {
			sum.Add(d.Fates)
			switch {
			case d.Sealed.IsZero():
				days["open"]++
			case d.Compact.IsZero():
				days["sealed"]++
			default:
				days["compact"]++
			}
		}
		for fate, n := range sum {
			fates[node.Fate(fate).String()] = n
		}
		s.gauge("borrowed_indices", "Indices whose settings are not yet restored.", float64(len(state.Borrowed)))
		s.saved(state)
		s.gauge("catch_up_lag_seconds", "How old the newest row may be that is not copied yet.", m.lag(state, time.Now()).Seconds())
	})
	by(s, "nodes", "Nodes in the checkpoint by fate.", "fate", fates)
	by(s, "days", "Days in the checkpoint by state.", "state", days)
}

// lag is how long ago all was copied that was there: when the last pass began, or before
// the first one has ended, when the migration did.
func (m *metrics) lag(state *checkpoint.State, now time.Time) time.Duration {
	at := state.Started
	if done := state.CatchUp.Completed; done != nil {
		at = time.UnixMicro(done.Until)
	}
	if micros := m.caughtUp.Load(); micros != 0 {
		at = time.UnixMicro(micros)
	}
	if at.IsZero() {
		return 0
	}
	return max(now.Sub(at), 0)
}

// serveMetrics serves metrics until the returned function is called.
func serveMetrics(address string, collectors ...prometheus.Collector) (stop func() error, err error) {
	registry := prometheus.NewRegistry()
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("serve metrics: %w", err), "give --metrics-addr a free address such as :9464")
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}

// observedGate is a gate that tells how long requests took.
type observedGate struct {
	*governor.Governor
	observe atomic.Pointer[metrics]
}

// Leave is that of migrate.Gate.
func (g *observedGate) Leave(bytes int, took time.Duration) {
	g.Governor.Leave(bytes, took)
	if m := g.observe.Load(); m != nil {
		m.bulks.Observe(took.Seconds())
	}
}
