package cli

import (
	"encoding/json"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
)

// answer answers, until the returned function is called, whoever asks how a copy
// is doing: Prometheus, and a person who sends SIGUSR1.
func (w *work) answer(m *migrate.Migration) (stop func() error, err error) {
	leave := func() error { return nil }
	if w.MetricsAddr != "" {
		metrics := newMetrics(m, w.session.Checkpoint, w.governor)
		if leave, err = metrics.serve(w.MetricsAddr); err != nil {
			return nil, err
		}
		w.show.hear(metrics.event)
	}
	quiet := w.onUser1(func() { w.show.line(snapshotText(m.Progress(), w.governor.State())) })
	return func() error {
		quiet()
		return leave()
	}, nil
}

// onUser1 calls show at each SIGUSR1 until the returned function is called.
func (w *work) onUser1(show func()) (stop func()) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	var listening sync.WaitGroup
	listening.Go(func() {
		for range asked {
			show()
		}
	})
	return func() {
		signal.Stop(asked)
		close(asked)
		listening.Wait()
	}
}

// snapshotText is the state of a copy as a line of JSON.
func snapshotText(p migrate.Progress, g governor.State) string {
	text, err := json.Marshal(struct {
		Type string `json:"type"` // "state"
		migrate.Progress
		Governor governor.State `json:"governor"`
	}{"state", p, g})
	if err != nil {
		return "state: " + err.Error()
	}
	return string(text)
}
