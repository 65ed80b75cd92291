package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
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

// metrics are read from the parts of a running copy whenever they are asked for.
type metrics struct {
	migration  *migrate.Migration
	checkpoint *checkpoint.Checkpoint
	governor   *governor.Governor
	events     *prometheus.CounterVec
}

// The metrics. Names and units follow Prometheus' conventions.
var (
	plannedBytes = describe("planned_bytes", "Bytes of data to be copied in all; an estimate until each day has begun.")
	doneBytes    = describe("done_bytes", "Bytes of data that are copied, by earlier runs too.")
	doneNodes    = describe("done_nodes", "Nodes that have their fate, by earlier runs too.")
	sentBytes    = describe("sent_bytes_total", "Bytes of data that this run has sent.")
	sentNodes    = describe("sent_nodes_total", "Nodes that this run has sent.")
	fateNodes    = describe("nodes", "Nodes in the checkpoint by fate.", "fate")
	stateDays    = describe("days", "Days in the checkpoint by state.", "state")
	borrowed     = describe("borrowed_indices", "Indices whose settings are not yet given back.")
	senders      = describe("senders_allowed", "Bulk requests that may be under way at present.")
	active       = describe("senders_active", "Bulk requests that are under way.")
	batchBytes   = describe("batch_bytes", "Size of a bulk request's body at present.")
	held         = describe("held", "1 while no bulk request may start.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("nodestore_migrate_"+name, help, labels, nil)
}

func newMetrics(m *migrate.Migration, c *checkpoint.Checkpoint, g *governor.Governor) *metrics {
	return &metrics{migration: m, checkpoint: c, governor: g, events: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "nodestore_migrate_events_total",
		Help: "Events such as waiting, retry, day_sealed, moved, vanished.",
	}, []string{"event"})}
}

// event counts what happens.
func (m *metrics) event(e migrate.Event) { m.events.WithLabelValues(string(e.Kind)).Inc() }

// Describe is part of prometheus.Collector.
func (m *metrics) Describe(descriptions chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, descriptions)
}

// Collect is part of prometheus.Collector.
func (m *metrics) Collect(values chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	p := m.migration.Progress()
	gauge(plannedBytes, float64(p.PlannedBytes))
	gauge(doneBytes, float64(p.DoneBytes))
	gauge(doneNodes, float64(p.DoneNodes))
	values <- prometheus.MustNewConstMetric(sentBytes, prometheus.CounterValue, float64(p.SentBytes))
	values <- prometheus.MustNewConstMetric(sentNodes, prometheus.CounterValue, float64(p.SentNodes))
	g := m.governor.State()
	gauge(senders, float64(g.Senders))
	gauge(active, float64(g.Active))
	gauge(batchBytes, float64(g.BatchBytes))
	isHeld := 0.0
	if g.Held != "" {
		isHeld = 1
	}
	gauge(held, isHeld)
	var fates node.Fates
	var open, sealed, loans int
	m.checkpoint.View(func(state *checkpoint.State) {
		for _, d := range state.Days {
			fates.Add(d.Fates)
			if d.Sealed.IsZero() {
				open++
				continue
			}
			sealed++
		}
		loans = len(state.Borrowed)
	})
	for fate, n := range fates {
		gauge(fateNodes, float64(n), node.Fate(fate).String())
	}
	gauge(stateDays, float64(open), "open")
	gauge(stateDays, float64(sealed), "sealed")
	gauge(borrowed, float64(loans))
}

// serve serves the metrics until the returned function is called.
func (m *metrics) serve(address string) (stop func() error, err error) {
	registry := prometheus.NewRegistry()
	if err := errors.Join(registry.Register(m), registry.Register(m.events)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
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
