package cli

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/governor"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/plan"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// Objects are what --json prints, one a line. Each has its schema in docs/schema, and
// docs/json.md says which verb prints which.

// objectSchema is the version of all of them. A field that is added does not raise it.
const objectSchema = 1

// head is what each object begins with.
type head struct {
	Type   string `json:"type"`
	Schema int    `json:"schema"`
}

func headed(kind string) head { return head{kind, objectSchema} }

// failure is the last line of a run that failed, was interrupted or was not understood.
type failure struct {
	head
	Error    string `json:"error"`
	Remedy   string `json:"remedy,omitempty"` // what to do about it
	ExitCode int    `json:"exit_code"`
}

// fail prints it, if JSON was asked for.
func (p *process) fail(code int, text, remedy string) {
	if p.json {
		_ = json.NewEncoder(p.stdout).Encode(failure{headed("error"), text, remedy, code}) // a run that is over cannot fail again
	}
}

// asksForJSON says whether words that may not be understood ask for JSON.
func asksForJSON(words []string) bool {
	return slices.Contains(words, "--json") || slices.Contains(words, "--json=true")
}

// planObject is what `plan` prints.
type planObject struct {
	head
	plan.Plan
}

// migrateProgress is how far a migration is.
type migrateProgress struct {
	head
	migrate.Progress
	BytesPerSecond   float64 `json:"bytes_per_second"`
	RemainingSeconds float64 `json:"remaining_seconds,omitempty"` // absent until it means something
}

// verifyProgress is how far a verification is.
type verifyProgress struct {
	head
	verify.Progress
	NodesPerSecond   float64 `json:"nodes_per_second"`
	RemainingSeconds float64 `json:"remaining_seconds,omitempty"` // absent until it means something
}

// migrateEvent is what a migration tells of.
type migrateEvent struct {
	head
	Time time.Time `json:"time"`
	migrate.Event
	PauseSeconds  float64 `json:"pause_seconds,omitempty"`
	BehindSeconds float64 `json:"behind_seconds,omitempty"`
}

func newMigrateEvent(e migrate.Event) migrateEvent {
	return migrateEvent{headed("event"), time.Now().UTC(), e, e.Pause.Seconds(), e.Behind.Seconds()}
}

// verifyEvent is what a verification tells of.
type verifyEvent struct {
	head
	Time time.Time `json:"time"`
	verify.Event
	PauseSeconds float64 `json:"pause_seconds,omitempty"`
}

func newVerifyEvent(e verify.Event) verifyEvent {
	return verifyEvent{headed("event"), time.Now().UTC(), e, e.Pause.Seconds()}
}

// migrateState is the state of a copy, printed at SIGUSR1.
type migrateState struct {
	head
	migrate.Progress
	Governor governor.State `json:"governor"`
}

// verifyState is the state of a verification, printed at SIGUSR1.
type verifyState struct {
	head
	verify.Progress
	LastEvent *verifyEvent   `json:"last_event,omitempty"` // absent before the first
	Governor  governor.State `json:"governor"`
}
