package cli

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

const verifyPrefix = "nodestore_verify_"

// verifyMetrics are read from the parts of a running verification.
type verifyMetrics struct {
	verification *verify.Verification
	checkpoint   *checkpoint.Checkpoint
	governor     *governor.Governor
	events       *prometheus.CounterVec
	findings     prometheus.Counter
}

func newVerifyMetrics(v *verify.Verification, s *session, g *governor.Governor) *verifyMetrics {
	return &verifyMetrics{
		verification: v, checkpoint: s.Checkpoint, governor: g,
		events: counters(verifyPrefix, append(verify.Kinds(), verify.Kind(heldEvent), verify.Kind(limitsEvent))),
		findings: prometheus.NewCounter(prometheus.CounterOpts{
			Name: verifyPrefix + "findings_total", Help: "Findings on the days that this run has compared.",
		}),
	}
}

// event counts what happens.
func (m *verifyMetrics) event(e verify.Event) {
	m.events.WithLabelValues(string(e.Kind)).Inc()
	if e.Kind == verify.DayCompared {
		m.findings.Add(float64(e.Findings))
	}
}

// Describe is part of prometheus.Collector.
func (m *verifyMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, descriptions)
}

// Collect is part of prometheus.Collector.
func (m *verifyMetrics) Collect(values chan<- prometheus.Metric) {
	s := sheet{verifyPrefix, values}
	p := m.verification.Progress()
	s.build()
	s.gauge("planned_nodes", "Ids and payloads that this run has to compare, about.", float64(p.PlannedNodes))
	s.counter("compared_nodes_total", "Ids and payloads that this run has compared.", p.Nodes)
	s.counter("compared_bytes_total", "Bytes of payloads that this run has compared.", p.Bytes)
	s.governed(m.governor.State())
	m.checkpoint.View(s.saved)
}
