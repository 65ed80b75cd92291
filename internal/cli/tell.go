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
	quiet := onUser1(func() { w.show.line(w.state(m.Progress())) })
	return func() error {
		quiet()
		return leave()
	}, nil
}

// onUser1 calls show at each SIGUSR1 until the returned function is called.
func onUser1(show func()) (stop func()) {
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

// state is the state of a copy.
func (w *work) state(p migrate.Progress) string {
	return jsonLine(struct {
		Type string `json:"type"` // "state"
		migrate.Progress
		Governor governor.State `json:"governor"`
	}{"state", p, w.governor.State()})
}

// jsonLine is the state of a run as a line of JSON.
func jsonLine(state any) string {
	text, err := json.Marshal(state)
	if err != nil {
		return "state: " + err.Error()
	}
	return string(text)
}
