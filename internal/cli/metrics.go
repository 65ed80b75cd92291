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

// Collect is part of prometheus.Collector. Names and units follow Prometheus'
// conventions.
func (m *metrics) Collect(values chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, name, help string, value int64, labels prometheus.Labels) {
		d := prometheus.NewDesc("nodestore_migrate_"+name, help, nil, labels)
		values <- prometheus.MustNewConstMetric(d, kind, float64(value))
	}
	gauge := func(name, help string, value int64) { send(prometheus.GaugeValue, name, help, value, nil) }
	p, g := m.migration.Progress(), m.governor.State()
	gauge("planned_bytes", "Bytes of data to be copied in all; an estimate until each day has begun.", p.PlannedBytes)
	gauge("done_bytes", "Bytes of data that are copied, by earlier runs too.", p.DoneBytes)
	gauge("done_nodes", "Nodes that have their fate, by earlier runs too.", p.DoneNodes)
	send(prometheus.CounterValue, "sent_bytes_total", "Bytes of data that this run has sent.", p.SentBytes, nil)
	send(prometheus.CounterValue, "sent_nodes_total", "Nodes that this run has sent.", p.SentNodes, nil)
	gauge("senders_allowed", "Bulk requests that may be under way at present.", int64(g.Senders))
	gauge("senders_active", "Bulk requests that are under way.", int64(g.Active))
	gauge("batch_bytes", "Size of a bulk request's body at present.", int64(g.BatchBytes))
	gauge("held", "1 while no bulk request may start.", map[bool]int64{true: 1}[g.Held != ""])
	var fates node.Fates
	var loans int64
	days, name := map[string]int64{"open": 0, "sealed": 0}, map[bool]string{true: "open", false: "sealed"}
	m.checkpoint.View(func(state *checkpoint.State) {
		for _, d := range state.Days {
			fates.Add(d.Fates)
			days[name[d.Sealed.IsZero()]]++
		}
		loans = int64(len(state.Borrowed))
	})
	gauge("borrowed_indices", "Indices whose settings are not yet restored.", loans)
	for fate, n := range fates {
		send(prometheus.GaugeValue, "nodes", "Nodes in the checkpoint by fate.", n, prometheus.Labels{"fate": node.Fate(fate).String()})
	}
	for state, n := range days {
		send(prometheus.GaugeValue, "days", "Days in the checkpoint by state.", n, prometheus.Labels{"state": state})
	}
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
