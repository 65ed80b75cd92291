package plan

import (
	"context"
	"fmt"

	"github.com/nodestore-migrate/nodestore-migrate/internal/amount"
)

// checkCodec says what the codec costs, and whether a cheaper one is there: what a
// cluster does while it is loaded is mostly compressing. Reading does not care.
// The figures are CPU seconds for each GB of payload, of docs/benchmark.md.
func (t *targetSide) checkCodec(ctx context.Context) {
	if t.preview == nil {
		return
	}
	codec := t.preview.Codec
	costs := map[string]string{"best_compression": "44 to 48", "zlib": "44 to 48", "default": "25 to 29", "lz4": "25 to 29"}
	cost, known := costs[codec]
	if !known {
		t.ok(Target, "codec", codec)
		return
	}
	text := fmt.Sprintf("%s costs the cluster about %s s of CPU a GB", codec, cost)
	if err := t.target.CheckCodec(ctx, "zstd"); err != nil {
		t.ok(Target, "codec", text+"; zstd would cost 10.5, and not every data node has it")
		return
	}
	t.add(Check{
		Side: Target, Name: "codec", State: OK, Lever: ChooseCodec,
		Detail: text + "; every data node has zstd, which costs 10.5",
		Remedy: "have the indices of past days made with zstd: Sentry's reader does not care, and they are no larger than with best_compression",
	})
}

// shardBytes is a size to aim at: OpenSearch's own advice is 10 to 50 GB.
const shardBytes = 30 << 30

// checkShards proposes how many shards a past day should have: every look-up of
// Sentry's asks all shards behind the alias.
func (t *targetSide) checkShards(context.Context) {
	if t.preview == nil || len(t.plan.Days) == 0 {
		return
	}
	var largest int64
	missing := 0
	for _, d := range t.plan.Days {
		if d.Fate == DayCopy && !d.Exists {
			missing++
			largest = max(largest, d.Bytes)
		}
	}
	proposed := 1 + int(compactFactor(t.preview.Codec)*float64(largest))/shardBytes
	text := fmt.Sprintf("%s a day for at most %s, %d in all", amount.Of(int64(t.preview.Shards), "shard"), amount.Size(largest), missing*t.preview.Shards)
	if missing == 0 || proposed >= t.preview.Shards {
		t.ok(Target, "shards_per_day", text)
		return
	}
	t.add(Check{
		Side: Target, Name: "shards_per_day", State: OK, Lever: ChooseShards, Detail: text,
		Remedy: fmt.Sprintf("%d a day would make it %d, and each look-up of Sentry's asks all of them", proposed, missing*proposed),
	})
}
