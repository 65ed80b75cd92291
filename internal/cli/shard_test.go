package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

func TestShardFlags(t *testing.T) {
	for _, test := range []struct {
		job   string
		flags []string
		want  string // what is wrong, or the shard
	}{
		{"", nil, "0/1"},
		{"", []string{"--shard", "2/4"}, "2/4"},
		{"3", []string{"--shards", "4"}, "3/4"},
		{"0", []string{"--shards", "1"}, "0/1"},
		{"1", []string{"--shard", "2/4"}, "2/4"}, // what is said twice is meant
		{"", []string{"--shard", "4/4"}, "--shard:"},
		{"", []string{"--shard", "-1/4"}, "--shard:"},
		{"", []string{"--shard", "1"}, "--shard:"},
		{"", []string{"--shard", "1/0"}, "--shard:"},
		{"", []string{"--shard", "2/4", "--shards", "5"}, "--shard has 4 parts, and --shards 5"},
		{"", []string{"--shards", "4"}, "$JOB_COMPLETION_INDEX does not say"},
		{"4", []string{"--shards", "4"}, "$JOB_COMPLETION_INDEX: \"4\" is not a shard of 4"},
		{"x", []string{"--shards", "4"}, "$JOB_COMPLETION_INDEX: \"x\" is not a shard of 4"},
		{"1", nil, "$JOB_COMPLETION_INDEX is set"},
		{"", []string{"--shards=-1"}, "--shards: -1 is not a whole number"},
		{"", []string{"--lease", "1ms"}, "--lease: 1ms is less than 100ms"},
		{"", []string{"--checkpoint", "opensearch:"}, "the index has no name"},
		{"", []string{"--rejected-payloads"}, "payloads are not kept in an index"},
		{"", []string{"--shard", "1/2", "--checkpoint", "a.checkpoint"}, "several machines cannot share a file"},
	} {
		t.Run(strings.Join(append(test.flags, test.job), " "), func(t *testing.T) {
			t.Setenv("JOB_COMPLETION_INDEX", test.job)
			if test.job == "" {
				_ = os.Unsetenv("JOB_COMPLETION_INDEX") // t.Setenv restores it
			}
			var stderr bytes.Buffer
			args := append([]string{"migrate", "--target", "http://127.0.0.1:9", "--checkpoint", "opensearch:a"}, test.flags...)
			selected, code := parse(&process{stdout: &stderr, stderr: &stderr, getenv: os.Getenv}, args)
			got := stderr.String()
			if verb, ok := selected.(*migrateCommand); ok {
				number, of := verb.shard()
				got = fmt.Sprintf("%d/%d", number, of)
			}
			if !strings.Contains(got, test.want) || (selected == nil) != (code == exitUsage) {
				t.Errorf("exit code %d, %s; want %s", code, got, test.want)
			}
		})
	}
}

// Whoever finishes has made the checkpoint of the whole and not yet gathered the
// shards' into it: what they did is shown.
func TestStatusBeforeGathering(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	alias := "nm" + strings.ToLower(rand.Text()[:10])
	to, err := target.Open(ctx, target.Config{
		Config:  cluster.Config{URLs: []string{testservers.OpenSearch(t, testservers.OpenSearchVersions()[0])}},
		Backend: target.Backend{Alias: alias, Template: alias, Index: alias + "-{date}", Pattern: alias + "-*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.Close)
	team := migrate.Team{Target: to, Records: records.In(to, "records-"+alias), Shards: 2}
	t.Cleanup(func() {
		if err := to.Drop(context.WithoutCancel(ctx), team.Records.Index()); err != nil {
			t.Error(err)
		}
	})
	if err := team.Records.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	division, err := json.Marshal(migrate.Division{Shards: 2, Done: []int{0, 1}})
	if err == nil {
		_, err = team.Records.Put(ctx, alias+"/division", division, records.Record{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range []string{team.Part(0), team.Part(1), team.Whole()} {
		medium, err := onindex.Open(ctx, onindex.Place{Records: team.Records, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		c, err := checkpoint.Open(ctx, medium, checkpoint.Binding{})
		if err == nil && key != team.Whole() {
			err = c.Update(ctx, func(state *checkpoint.State) { state.Day(node.Day(20_000 + i)).Bytes = 7 })
		}
		if err := errors.Join(err, medium.Close()); err != nil {
			t.Fatal(err)
		}
	}
	state, err := recordFlag{"opensearch:" + team.Records.Index()}.read(ctx, to)
	if err != nil || len(state.Days) != 2 || state.Day(20_001).Bytes != 7 {
		t.Errorf("%+v, %v; want two days", state.Days, err)
	}
}
