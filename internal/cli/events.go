package cli

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// Events of the command line's own.
const (
	heldEvent   migrate.Kind = "held"   // why nothing is sent; without a cause, that it resumes
	limitsEvent migrate.Kind = "limits" // the limits have changed
	shardEvent  migrate.Kind = "shard"  // how far a shared migration is
)

// eventLevel is how urgent an event is in a log.
func eventLevel(e migrate.Event) slog.Level {
	switch e.Kind {
	case migrate.Warning, migrate.Missing, migrate.Kept, migrate.Unexplained, migrate.Doubled, migrate.Lost, migrate.Waiting, migrate.Retry, migrate.Dropped:
		return slog.LevelWarn
	case heldEvent:
		if e.Cause != "" {
			return slog.LevelWarn
		}
	}
	return slog.LevelInfo
}

func eventText(e migrate.Event) string {
	switch e.Kind {
	case migrate.DayStarted:
		return fmt.Sprintf("%s: %s nodes, %s to copy", e.Day, amount.Count(e.Nodes), amount.Size(e.Bytes))
	case migrate.DaySealed:
		return fmt.Sprintf("%s: sealed, %s documents in %s", e.Day, amount.Count(e.Nodes), e.Index)
	case migrate.DayCompact:
		return fmt.Sprintf("%s: compact, %s in %s", e.Day, amount.Size(e.Bytes), e.Index)
	case migrate.Compacting:
		return fmt.Sprintf("all is copied; compacting %s", amount.Of(e.Nodes, "day"))
	case migrate.DayOpen:
		return fmt.Sprintf("%s: copied so far; Sentry may still write to it, so it stays open", e.Day)
	case migrate.Retry:
		return fmt.Sprintf("%s: reading a slice again: %s", e.Day, e.Cause)
	case migrate.Waiting:
		return fmt.Sprintf("waiting %s: %s", e.Pause.Round(time.Millisecond), e.Cause)
	case migrate.Restored:
		return fmt.Sprintf("%s: settings restored", e.Index)
	case migrate.Template:
		return fmt.Sprintf("wrote index template %s, as the backend would", e.Index)
	case shardEvent:
		return e.Cause
	case limitsEvent:
		return "limits: " + e.Cause
	case heldEvent:
		if e.Cause == "" {
			return "resuming"
		}
		return "held: " + e.Cause
	case migrate.CaughtUp:
		return fmt.Sprintf("caught up to %s ago; %s nodes were new", amount.Roughly(e.Behind), amount.Count(e.Nodes))
	case migrate.Moved:
		return fmt.Sprintf("%s: removed %s stale copies of nodes that were rewritten", e.Index, amount.Count(e.Nodes))
	case migrate.Vanished:
		return fmt.Sprintf("%s: removed %s nodes that were deleted at the source", e.Index, amount.Count(e.Nodes))
	case migrate.Dropped:
		return fmt.Sprintf("%s: index %s is gone and is not made again; its nodes count as out of retention", e.Day, e.Index)
	case migrate.Lost:
		return fmt.Sprintf("%s: LOST: index %s with %s nodes is gone, and no retention covers the day", e.Day, e.Index, amount.Count(e.Nodes)) + eventAdvice(e)
	case migrate.Retried:
		return fmt.Sprintf("%s: sending %s rejected nodes again to %s", e.Day, amount.Count(e.Nodes), e.Index)
	case migrate.Late:
		return fmt.Sprintf("%s: %s rows without a document, committed late: copying them to %s", e.Day, amount.Count(e.Nodes), e.Index)
	case migrate.Warning, migrate.Missing, migrate.Kept, migrate.Unexplained, migrate.Doubled:
		return "WARNING: " + e.Cause
	}
	return fmt.Sprintf("%s %s %s", e.Kind, e.Day, e.Cause)
}

func verifyEventText(e verify.Event) string {
	switch e.Kind {
	case verify.DayStarted:
		return fmt.Sprintf("%s: %s nodes to compare", e.Day, amount.Count(e.Nodes))
	case verify.DayCompared:
		return fmt.Sprintf("%s: compared, findings: %s", e.Day, amount.Count(e.Findings))
	case verify.Resumed:
		return "resuming the verification that was interrupted"
	case verify.LookingAgain:
		return fmt.Sprintf("nodes that do not look right: %s; looking again", amount.Count(e.Nodes))
	case verify.Waiting:
		return fmt.Sprintf("waiting %s: %s", e.Pause.Round(time.Millisecond), e.Cause)
	case verify.Repairing:
		return e.Cause
	case verify.Kind(heldEvent), verify.Kind(limitsEvent):
		return eventText(migrate.Event{Kind: migrate.Kind(e.Kind), Cause: e.Cause})
	}
	return fmt.Sprintf("%s %s %s", e.Kind, e.Day, e.Cause)
}
