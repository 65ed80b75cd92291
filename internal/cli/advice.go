package cli

import (
	"errors"
	"fmt"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/plan"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// The library knows no flag: its errors and events carry facts. Here is which flag
// helps, and nowhere else.

// remedy is what to do about an error: what was attached to it, else what the table
// says of its type, or "".
func remedy(err error) string {
	if text := hint.Of(err); text != "" {
		return text
	}
	for _, advise := range errorAdvice() {
		if text := advise(err); text != "" {
			return text
		}
	}
	return ""
}

func errorAdvice() []func(error) string {
	return []func(error) string{
		on(func(*migrate.BudgetError) string {
			return "fix the cause and run the same command again: these nodes are not recorded; --max-rejected allows more, 100% any number of refused ones"
		}),
		on(func(*migrate.VanishedError) string {
			return "if the table was emptied because it is migrated, there is nothing to do; if Sentry deleted these nodes before the switch, " +
				"run again with --remove-vanished, or with --retention if they are only old"
		}),
		on(dividedAdvice),
		on(func(mistaken *cluster.MistakeError) string { return flagsFor(mistaken.Mistake) }),
		func(err error) string {
			if errors.Is(err, verify.ErrNotMigrated) {
				return "run migrate first, or name its file with --checkpoint"
			}
			return ""
		},
		on(func(moved *migrate.MovedError) string {
			if !moved.Agree {
				return "give the source of the first run: these are not the rows that were copied, so it cannot be taken for the same data that moved"
			}
			return "if this is the same data after a restore, an upgrade or a switch-over, confirm that with migrate --source-moved: " +
				"days that agree are kept; else give the source of the first run, or another --checkpoint and --alias"
		}),
	}
}

// on is advice about one type of error.
func on[E error](advise func(E) string) func(error) string {
	return func(err error) string {
		if found, ok := errors.AsType[E](err); ok {
			return advise(found)
		}
		return ""
	}
}

func dividedAdvice(divided *migrate.DividedError) string {
	switch of := divided.Division; {
	case divided.Shards == 1:
		return fmt.Sprintf("start what is missing: --shard %d/%d; the last one finishes the migration", of.Missing()[0], of.Shards)
	case of.Shards == 1:
		return "resume without --shard, or start over with another index in --checkpoint"
	default:
		return fmt.Sprintf("resume with %d shards, or start over with another index in --checkpoint", of.Shards)
	}
}

// eventAdvice is which flag does something about an event, behind its cause.
func eventAdvice(e migrate.Event) string {
	return map[migrate.Kind]string{
		migrate.Missing:     "; --copy-missing copies them",
		migrate.Kept:        "; --remove-vanished removes them",
		migrate.Unexplained: "; --switched-at says since when it writes",
		migrate.Doubled:     "; if it writes to OpenSearch already, --switched-at says since when",
		migrate.Lost:        "; --copy-again " + e.Day + " copies it again",
	}[e.Kind]
}

// leverAdvice is which flags set what the remedy of a check is about, behind it.
func leverAdvice(lever plan.Lever) string {
	return map[plan.Lever]string{
		plan.NameRegion:      " (--region NAME)",
		plan.LookBackFurther: " (--overlap)",
		plan.ChooseRows:      " (--source, --table, --since, --until)",
		plan.ChooseDays:      " (--since, --retention)",
		plan.ChooseTable:     " (--table)",
		plan.ChooseCodec:     " (--codec zstd)",
		plan.ChooseShards:    " (--shards-per-day)",
		plan.MeasureSpeed:    " (--probe, --mb-per-second)",
		plan.RestoreSettings: " (--restore-settings)",
		plan.NameCheckpoint:  " (--checkpoint, --restore-settings)",
	}[lever]
}
