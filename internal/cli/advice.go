package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/plan"
	"github.com/nodestore-migrate/nodestore-migrate/source"
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
		on(func(*verify.EmptiedError) string {
			return "if you emptied it after verify --require-safe had passed there is nothing to do: keep that report; " +
				"if nobody emptied it, check --source and --table"
		}),
		on(func(moved *migrate.MovedError) string {
			if !moved.Agree {
				return "give the source of the first run: these are not the rows that were copied, so it cannot be taken for the same data that moved"
			}
			return "if this is the same data after a restore, an upgrade or a switch-over, confirm that with migrate --source-moved: " +
				"days that agree are kept; else give the source of the first run, or another --checkpoint and --alias"
		}),
		on(func(refused *source.SiloError) string { return siloAdvice(refused.Silo) }),
		on(func(missing *source.NoTableError) string {
			if missing.Near == "" {
				return "no table here has nodestore in its name: check that this is the database of the Sentry region, not of its control silo"
			}
			return "did you mean " + missing.Near + "? Name it with --table"
		}),
		on(func(column *source.ColumnError) string {
			if column.Has == "" {
				return "a nodestore table has the columns id, data and timestamp: check --table"
			}
			return fmt.Sprintf("migrate from a view that has column %s as %s, and name it with --table", column.Column, column.Want)
		}),
		func(err error) string {
			if source.Full(err) {
				return "the server has no connection free: read with fewer (--readers), or through pgbouncer"
			}
			return ""
		},
		on(func(*checkpoint.NoneError) string {
			return "no migration has begun here; name the file of one with --checkpoint"
		}),
		on(func(*checkpoint.PlaceError) string {
			return "name with --checkpoint a file in a directory that exists and that this user may write to"
		}),
		on(func(mismatch *checkpoint.MismatchError) string {
			if !mismatch.Movable {
				return "give the source and target of the first run, or start another migration with another --checkpoint"
			}
			return "if this is the same data on another server, confirm that with migrate --source-moved; " +
				"else give the source of the first run, or start another migration with another --checkpoint"
		}),
		on(func(*onindex.TakenError) string {
			return "nothing is lost, the other run continues; give --lease a longer time if this machine or the cluster often stands still"
		}),
	}
}

func siloAdvice(silo source.Silo) string {
	switch silo.Kind {
	case source.ControlSilo:
		return "name the database of a region in --source, one region after the other; the regions are: " +
			cmp.Or(strings.Join(silo.Regions, ", "), "not listed here")
	case source.SeveralRegions:
		return "a document does not say which region it is from. Give each region a database of its own first; " +
			"if the names are one renamed region's, make them one in sentry_organizationmapping"
	case source.Monolith:
		return "check --source and --region: they name two regions"
	case source.SplitLeftover:
		return "bin/split-silo-database leaves the old database as it was: name the region's database in --source; " +
			"if Sentry does still use this one, say so with --region NAME"
	case source.NodestoreAlone:
		return "name the region with --region NAME, and give each region an alias of its own"
	case source.RegionSilo:
		return "name the region with --region NAME, or grant: GRANT EXECUTE ON FUNCTION pg_control_system() TO the role"
	}
	return "grant the role SELECT on these tables, or name the region with --region NAME (a monolith's too)"
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
		plan.ChooseDays:      " (--since, --until-disk, --retention)",
		plan.ChooseTable:     " (--table)",
		plan.ChooseCodec:     " (--codec zstd)",
		plan.ChooseShards:    " (--shards-per-day)",
		plan.MeasureSpeed:    " (--probe, --mb-per-second); migrate --rehearse 1% measures a share of all of it",
		plan.RestoreSettings: " (--restore-settings)",
		plan.NameCheckpoint:  " (--checkpoint, --restore-settings)",
	}[lever]
}
