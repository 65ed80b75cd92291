package migrate

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

func TestEachDayHasOneShard(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shards := rapid.IntRange(1, 8).Draw(t, "shards")
		bytes := rapid.SliceOfN(rapid.Int64Range(0, 1<<40), 0, 100).Draw(t, "bytes")
		var sizes []source.DaySize
		var sum, largest int64
		for i, n := range bytes {
			sizes = append(sizes, source.DaySize{Day: node.Day(20_000 + i), Bytes: n})
			sum, largest = sum+max(n, 1), max(largest, n, 1)
		}
		d := Division{Shards: shards, Days: divideDays(sizes, shards)}
		load := make([]int64, shards)
		for _, size := range sizes {
			load[d.ShardOf(size.Day)] += max(size.Bytes, 1)
		}
		for shard, n := range load {
			// The last day that a shard got was given to it when it had no more than the average.
			if n > sum/int64(shards)+largest {
				t.Errorf("shard %d of %d has %d of %d bytes", shard, shards, n, sum)
			}
		}
		for _, later := range []node.Day{node.MinDay, -1, 0, 30_000} {
			if shard := d.ShardOf(later); shard < 0 || shard >= shards {
				t.Errorf("day %s goes to shard %d of %d", later, shard, shards)
			}
		}
	})
}

func TestMissingShards(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		division Division
		want     string
	}{
		{Division{Shards: 1}, "[]"},
		{Division{Shards: 3}, "[0 1 2]"},
		{Division{Shards: 3, Done: []int{2, 0}}, "[1]"},
		{Division{Shards: 2, Done: []int{0, 1}}, "[]"},
	} {
		if got := fmt.Sprint(test.division.Missing()); got != test.want {
			t.Errorf("%+v misses %s, want %s", test.division, got, test.want)
		}
	}
}
