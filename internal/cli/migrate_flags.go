package cli

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// migrateCommand copies.
type migrateCommand struct {
	sidesFlags    `embed:""`
	recordFlag    `embed:"" group:"Copy"`
	daysFlags     `embed:"" group:"Copy"`
	sendersFlag   `embed:"" group:"Copy"`
	retentionFlag `embed:"" group:"Catch-up"`
	acceptFlag    `embed:"" group:"Copy"`
	limitFlags    `embed:"" group:"Limits"`
	shardFlags    `embed:"" group:"Several machines"`
	metricFlags   `embed:"" group:"Output"`
	outputFlags   `embed:"" group:"Output"`

	Rehearse percentValue `help:"Copy only this share of the table, drawn at random, to indices that Sentry does not know; verify all of it, compact it, say what the whole will take, and remove it again. No checkpoint is used." placeholder:"PERCENT" group:"Copy"`
	Seed     uint64       `help:"Which slices --rehearse draws: the same seed draws the same of the same table. At random by default." placeholder:"N" group:"Copy"`

	Order            string        `help:"Which days first: ${enum}." enum:"newest,oldest" default:"newest" group:"Copy"`
	Check            string        `help:"How far each payload is checked: quick looks at its base64, its zlib header and its first byte; full inflates it and compares the checksum." enum:"quick,full" default:"quick" group:"Copy"`
	Readers          countValue    `help:"Connections that read at the same time." env:"NODESTORE_READERS" placeholder:"N" group:"Copy"`
	BulkBytes        sizeValue     `help:"Size of a bulk request; 8MiB by default." env:"NODESTORE_BULK_BYTES" placeholder:"SIZE" group:"Copy"`
	CopyAgain        daysValue     `help:"Copy these days again: they are lost, because their indices are gone." placeholder:"YYYY-MM-DD,..." group:"Copy"`
	MaxRejected      rejectedLimit `help:"Stop when the target refuses more than this share of a day, such as 5%, or when more than this number of nodes is rejected for whatever reason; 1% by default." env:"NODESTORE_MAX_REJECTED" placeholder:"SHARE|N" group:"Copy"`
	RetryRejected    reasonsValue  `help:"Send nodes again that were rejected for one of these reasons, because its cause is mended, or all." placeholder:"REASON,..." group:"Copy"`
	RejectedPayloads bool          `help:"Also keep the payloads of rejected nodes, in FILE.rejected-payloads.jsonl.zst." group:"Copy"`
	SourceMoved      bool          `help:"Confirm that the source is the one of the earlier runs on another server, or under another name: restored, upgraded or switched over. Days that agree are kept." group:"Copy"`
	RestoreSettings  bool          `help:"Only restore the index settings that an interrupted run has borrowed." group:"Copy"`

	Codec        string     `help:"Codec of the indices that the tool makes for past days, such as zstd; that of the template by default." env:"NODESTORE_CODEC" placeholder:"NAME" group:"Past days"`
	ShardsPerDay countValue `help:"Primary shards of the indices that the tool makes for past days; as many as the template says by default." env:"NODESTORE_SHARDS_PER_DAY" placeholder:"N" group:"Past days"`
	Compact      string     `help:"When past days are merged to one segment a shard, which takes a quarter less room and makes Sentry's look-ups faster: ${enum}." env:"NODESTORE_COMPACT" enum:"now,later,never" default:"now" group:"Past days"`
	CompactOnly  bool       `help:"Only compact the days that are sealed, such as at night after --compact later." group:"Past days"`

	UntilDisk bool `help:"Copy the newest days that the target's disks have room for, and end before a watermark stops the load; run again when there is more room." env:"NODESTORE_UNTIL_DISK" group:"Limits"`

	Follow         bool          `help:"Keep following Sentry's writes after the copy, until Ctrl-C." group:"Catch-up"`
	UntilQuiet     time.Duration `help:"With --follow: end when nothing new came for this long." placeholder:"DURATION" group:"Catch-up"`
	Overlap        time.Duration `help:"How far each pass looks back, for clocks and long transactions; ${default} by default." env:"NODESTORE_OVERLAP" default:"15m" placeholder:"DURATION" group:"Catch-up"`
	SwitchedAt     timeValue     `help:"When Sentry began to write to OpenSearch. What it wrote since then always wins." env:"NODESTORE_SWITCHED_AT" placeholder:"TIME" group:"Catch-up"`
	RemoveVanished bool          `help:"Remove what was deleted at the source even if that is more than a tenth of all nodes, all of a day, or was deleted since the switch." group:"Catch-up"`
	CopyMissing    bool          `help:"After the switch, also copy rows that have no document: they were committed late, or Sentry deleted them since." group:"Catch-up"`
	WaitReplicas   time.Duration `name:"wait-for-replicas" help:"Wait at the end until the sealed days have their replicas." placeholder:"DURATION" group:"Catch-up"`
}

// Help is the long help of the verb.
func (migrateCommand) Help() string {
	return `Copies every node into the daily index of its UTC day, newest day first, and seals each day that is
complete. What is done is recorded in the checkpoint: after a crash or Ctrl-C the same command resumes. Rejected nodes
are listed in FILE.rejected.jsonl beside the checkpoint.

Examples:
  nodestore-migrate migrate --source postgres://sentry@db/sentry --target https://opensearch:9200 \
      --target-username admin --target-password-file password
  PGSERVICE=sentry nodestore-migrate migrate --target http://opensearch:9200 --since 2025-09-01
  nodestore-migrate migrate --rehearse 1% --target http://opensearch:9200
  nodestore-migrate migrate --retry-rejected too_large --accept-rejected pickle,empty
  nodestore-migrate migrate --json --target http://opensearch:9200 | tail -n 1 | jq .fates

The variables SENTRY_NODESTORE_OPENSEARCH_* are read exactly as the backend reads them.

` + exitCodes
}

func (c *migrateCommand) problems(found []string) []string {
	found = c.shardFlags.problems(c.limitFlags.problems(c.daysFlags.problems(c.targetFlags.problems(found))))
	index, onTarget := c.index()
	_, shards := c.shard()
	switch {
	case c.Rehearse.share > 0 && (shards > 1 || c.Follow || c.RestoreSettings || c.CompactOnly || c.UntilDisk || c.SourceMoved || c.RejectedPayloads || c.MetricsAddr != "" || len(c.CopyAgain.days)+len(c.RetryRejected.list) > 0):
		found = append(found, "--rehearse leaves nothing behind: it goes with flags that say what is read, how fast, and how it is stored, and with no other work")
	case onTarget && index == "":
		found = append(found, "--checkpoint opensearch:NAME: the index has no name")
	case onTarget && c.RejectedPayloads:
		found = append(found, "--rejected-payloads wants a --checkpoint that is a file: payloads are not kept in an index")
	case shards > 1 && c.CompactOnly:
		found = append(found, "--compact-only compacts the days of all shards: leave --shard and --shards out")
	case shards > 1 && c.UntilDisk:
		found = append(found, "--until-disk is for a process on its own: leave --shard and --shards out")
	case !onTarget && shards > 1:
		found = append(found, "several machines cannot share a file: --shard and --shards want --checkpoint opensearch:NAME")
	}
	found = c.ownFiles(found, written{"--control", c.Control}, written{"--log-file", c.LogFile})
	if c.Seed != 0 && c.Rehearse.share == 0 {
		found = append(found, "--seed goes with --rehearse")
	}
	if c.UntilQuiet != 0 && !c.Follow {
		found = append(found, "--until-quiet goes with --follow")
	}
	if c.UntilDisk && c.Order == "oldest" {
		found = append(found, "--until-disk copies the newest days first: leave --order oldest out")
	}
	if c.Overlap <= 0 {
		found = append(found, fmt.Sprintf("--overlap: %s is not positive", c.Overlap))
	}
	return found
}

func (c *migrateCommand) options(p *process) migrate.Options {
	o := migrate.Options{
		Readers: cmp.Or(c.Readers.n, DefaultReaders()), Senders: c.senders(), BatchBytes: cmp.Or(c.BulkBytes.bytes, migrate.DefaultBatchBytes),
		OldestFirst: c.Order == "oldest", Since: c.Since.Day, Until: c.Until.Day, CopyAgain: c.CopyAgain.days, Retry: c.RetryRejected.list, Stop: p.stop,
		Follow: c.Follow, QuietFor: c.UntilQuiet, Overlap: c.Overlap, Retention: c.Retention.n,
		SwitchedAt: c.SwitchedAt.micros, RemoveVanished: c.RemoveVanished, CopyMissing: c.CopyMissing, Replicas: c.WaitReplicas,
		Budget: c.MaxRejected.Budget, Compact: c.Compact == "now", Shape: target.Shape{Codec: c.Codec, Shards: c.ShardsPerDay.n},
	}
	if c.Check == "full" {
		o.Depth = node.Full
	}
	return o
}
