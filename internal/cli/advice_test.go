package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// The packages that do the work know no flag: what they say is wrong has a
// remedy here.
func TestEveryFactHasItsFlag(t *testing.T) {
	t.Parallel()
	silo := func(kind source.SiloKind, regions ...string) error {
		return &source.SiloError{Silo: source.Silo{Kind: kind, Database: "sentry", Regions: regions}}
	}
	for _, test := range []struct {
		err    error
		remedy string
	}{
		{silo(source.ControlSilo, "de", "us"), "name the database of a region in --source, one region after the other; the regions are: de, us"},
		{silo(source.ControlSilo), "the regions are: not listed here"},
		{silo(source.SeveralRegions, "de", "us"), "a database of its own"},
		{silo(source.Monolith, "us"), "check --source and --region"},
		{silo(source.SplitLeftover), "name the region's database in --source; if Sentry does still use this one, say so with --region NAME"},
		{silo(source.NodestoreAlone), "--region NAME"},
		{silo(source.RegionSilo), "--region NAME, or grant"},
		{silo(source.UnknownSilo), "grant the role SELECT on these tables, or name the region with --region NAME"},
		{&source.NoTableError{}, "no table here has nodestore in its name"},
		{&source.NoTableError{Near: "public.old"}, "did you mean public.old? Name it with --table"},
		{&source.ColumnError{Column: "data"}, "columns id, data and timestamp: check --table"},
		{&source.ColumnError{Column: "data", Has: "json", Want: "text or bytea"}, "migrate from a view that has column data as text or bytea, and name it with --table"},
		{&checkpoint.MismatchError{Movable: true}, "--source-moved; else give the source of the first run, or start another migration with another --checkpoint"},
		{&checkpoint.MismatchError{}, "give the source and target of the first run, or start another migration with another --checkpoint"},
		{&checkpoint.NoneError{Err: fs.ErrNotExist}, "no migration has begun here; name the file of one with --checkpoint"},
		{&checkpoint.PlaceError{Err: fs.ErrPermission}, "name with --checkpoint a file"},
		{&onindex.TakenError{Lease: time.Second}, "--lease"},
		{hint.Add(silo(source.Monolith, "us"), "mine"), "mine"},
	} {
		err := fmt.Errorf("open: %w", errors.Join(test.err, nil))
		if got := remedy(err); !strings.Contains(got, test.remedy) {
			t.Errorf("%v: %q, want %q", err, got, test.remedy)
		}
	}
	if remedy(nil) != "" {
		t.Error("no error has a remedy")
	}
}
