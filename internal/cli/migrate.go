package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// migrateCommand copies.
type migrateCommand struct {
	sourceFlags `embed:""`
	targetFlags `embed:""`
	limitFlags  `embed:""`
	outputFlags `embed:""`
	shardFlags  `embed:""`
	metricFlags `embed:""`

	Checkpoint string     `help:"File that records what is done, or opensearch:NAME, an index on the target." env:"NODESTORE_CHECKPOINT" default:"nodestore-migrate.checkpoint" placeholder:"FILE" group:"Copy"`
	Since      dayValue   `help:"First UTC day to copy." env:"NODESTORE_SINCE" placeholder:"YYYY-MM-DD" group:"Copy"`
	Until      dayValue   `help:"First UTC day not to copy." env:"NODESTORE_UNTIL" placeholder:"YYYY-MM-DD" group:"Copy"`
	Order      string     `help:"Which days first: ${enum}." enum:"newest,oldest" default:"newest" group:"Copy"`
	Check      string     `help:"How far each payload is checked: quick looks at its base64, its zlib header and its first byte; full inflates it and compares the checksum." enum:"quick,full" default:"quick" group:"Copy"`
	Readers    countValue `help:"Connections that read at the same time." env:"NODESTORE_READERS" placeholder:"N" group:"Copy"`
	Senders    countValue `help:"Bulk requests under way at the same time." env:"NODESTORE_SENDERS" placeholder:"N" group:"Copy"`
	BulkBytes  sizeValue  `help:"Size of a bulk request; 8MiB by default." env:"NODESTORE_BULK_BYTES" placeholder:"SIZE" group:"Copy"`

	Codec        string     `help:"Codec of the indices that the tool makes for past days, such as zstd; that of the template by default." env:"NODESTORE_CODEC" placeholder:"NAME" group:"Past days"`
	ShardsPerDay countValue `help:"Primary shards of the indices that the tool makes for past days; as many as the template says by default." env:"NODESTORE_SHARDS_PER_DAY" placeholder:"N" group:"Past days"`
	Compact      string     `help:"When past days are merged to one segment a shard, which takes a quarter less room and makes Sentry's look-ups faster: ${enum}." env:"NODESTORE_COMPACT" enum:"now,later,never" default:"now" group:"Past days"`
	CompactOnly  bool       `help:"Only compact the days that are sealed, such as at night after --compact later." group:"Past days"`

	Follow         bool          `help:"Go on following Sentry's writes after the copy, until Ctrl-C." group:"Catch-up"`
	UntilQuiet     time.Duration `help:"With --follow: end when nothing new came for this long." placeholder:"DURATION" group:"Catch-up"`
	Overlap        time.Duration `help:"How far each pass looks back, for clocks and long transactions; ${default} by default." env:"NODESTORE_OVERLAP" default:"15m" placeholder:"DURATION" group:"Catch-up"`
	Retention      retentionDays `help:"Days that Sentry keeps; older ones are counted, not copied. $SENTRY_EVENT_RETENTION_DAYS by default, else as it was last given; 0 keeps everything." env:"NODESTORE_RETENTION,SENTRY_EVENT_RETENTION_DAYS" placeholder:"DAYS" group:"Catch-up"`
	SwitchedAt     timeValue     `help:"When Sentry began to write to OpenSearch. What it wrote since then always wins." env:"NODESTORE_SWITCHED_AT" placeholder:"TIME" group:"Catch-up"`
	RemoveVanished bool          `help:"Remove what was deleted at the source even if that is more than a tenth of all nodes, all of a day, or was deleted since the switch." group:"Catch-up"`
	CopyMissing    bool          `help:"After the switch, also copy rows that have no document: they were committed late, or Sentry deleted them since." group:"Catch-up"`
	CopyAgain      []dayValue    `help:"Copy these days again: they are lost, because their indices are gone." placeholder:"YYYY-MM-DD" group:"Copy"`
	WaitReplicas   time.Duration `name:"wait-for-replicas" help:"Wait at the end until the sealed days have their replicas." placeholder:"DURATION" group:"Catch-up"`

	MaxRejected      rejectedLimit `help:"Stop when the target refuses more than this share of a day, such as 5%, or when more than this number of nodes is rejected for whatever reason; 1% by default." env:"NODESTORE_MAX_REJECTED" placeholder:"SHARE|N" group:"Copy"`
	RejectedPayloads bool          `help:"Also keep the payloads of rejected nodes, in FILE.rejected-payloads.jsonl.zst." group:"Copy"`
	SourceMoved      bool          `help:"Confirm that the source is the one of the earlier runs on another server, or under another name: restored, upgraded or switched over. Days that agree are kept." group:"Copy"`
	RestoreSettings  bool          `help:"Only give back the index settings that an interrupted run has borrowed." group:"Copy"`
}

// Help is the long help of the verb.
func (migrateCommand) Help() string {
	return `Copies every node into the daily index of its UTC day, newest day first, and seals each day that is
complete. What is done is in the checkpoint: after a crash or Ctrl-C the same command resumes. Rejected nodes
are listed in FILE.rejected.jsonl beside the checkpoint.

Examples:
  nodestore-migrate migrate --source postgres://sentry@db/sentry --target https://opensearch:9200 \
      --target-username admin --target-password-file password
  PGSERVICE=sentry nodestore-migrate migrate --target http://opensearch:9200 --since 2025-09-01
  nodestore-migrate migrate --json --target http://opensearch:9200 | tail -n 1 | jq .fates

The variables SENTRY_NODESTORE_OPENSEARCH_* are read exactly as the backend reads them.

` + exitCodes
}

func (c *migrateCommand) problems(found []string) []string {
	found = c.shardFlags.problems(c.limitFlags.problems(c.targetFlags.problems(found)))
	found = ownFiles(c.checkpointProblems(found), c.Checkpoint, written{"--control", c.Control}, written{"--log-file", c.LogFile})
	found = named(found, "since", c.Since.problem)
	found = named(found, "until", c.Until.problem)
	found = named(found, "readers", c.Readers.problem)
	found = named(found, "senders", c.Senders.problem)
	found = named(found, "bulk-bytes", c.BulkBytes.problem)
	found = named(found, "shards-per-day", c.ShardsPerDay.problem)
	found = named(found, "retention", c.Retention.problem)
	found = named(found, "max-rejected", c.MaxRejected.problem)
	found = named(found, "switched-at", c.SwitchedAt.problem)
	for _, day := range c.CopyAgain {
		found = named(found, "copy-again", day.problem)
	}
	if c.UntilQuiet != 0 && !c.Follow {
		found = append(found, "--until-quiet goes with --follow")
	}
	if c.Overlap <= 0 {
		found = append(found, fmt.Sprintf("--overlap: %s is not positive", c.Overlap))
	}
	if c.Since.problem == nil && c.Until.problem == nil && c.Until.Day != 0 && c.Since.Day >= c.Until.Day {
		found = append(found, fmt.Sprintf("--until %s is not after --since %s: there is no day between them", c.Until.Day, c.Since.Day))
	}
	return found
}

func (c *migrateCommand) checkpointProblems(found []string) []string {
	index, ok := checkpointIndex(c.Checkpoint)
	_, shards := c.shard()
	switch {
	case ok && index == "":
		found = append(found, "--checkpoint opensearch:NAME: the index has no name")
	case ok && c.RejectedPayloads:
		found = append(found, "--rejected-payloads wants a --checkpoint that is a file: payloads are not kept in an index")
	case shards > 1 && c.CompactOnly:
		found = append(found, "--compact-only compacts the days of all shards: leave --shard and --shards out")
	case !ok && shards > 1:
		found = append(found, "several machines share no file: --shard and --shards want --checkpoint opensearch:NAME")
	}
	return found
}

func (c *migrateCommand) options(p *process) migrate.Options {
	o := migrate.Options{
		Readers: c.Readers.n, Senders: c.Senders.n, BatchBytes: c.BulkBytes.bytes,
		OldestFirst: c.Order == "oldest", Since: c.Since.Day, Until: c.Until.Day, Stop: p.stop,
		Follow: c.Follow, QuietFor: c.UntilQuiet, Overlap: c.Overlap, Retention: c.Retention.n,
		SwitchedAt: c.SwitchedAt.micros, RemoveVanished: c.RemoveVanished, CopyMissing: c.CopyMissing, Replicas: c.WaitReplicas,
		Budget: c.MaxRejected.Budget, Compact: c.Compact == "now", Shape: target.Shape{Codec: c.Codec, Shards: c.ShardsPerDay.n},
	}
	for _, day := range c.CopyAgain {
		o.CopyAgain = append(o.CopyAgain, day.Day)
	}
	if o.Readers == 0 {
		o.Readers = DefaultReaders()
	}
	if o.Senders == 0 {
		o.Senders = DefaultSenders()
	}
	if c.Check == "full" {
		o.Depth = node.Full
	}
	return o
}

// Run copies, or only restores settings.
func (c *migrateCommand) Run(ctx context.Context, p *process) error {
	r, err := c.copy(ctx, p)
	err = advised(err)
	if c.RestoreSettings || err != nil && !errors.Is(err, migrate.ErrInterrupted) {
		return err
	}
	if r.Type != "" { // a shard that finds its part done has nothing to say
		err = errors.Join(r.print(p, c.outputFlags), err)
	}
	if err != nil {
		return err
	}
	return r.verdict()
}

// advised adds to an error of a migration or a verification which flag is the
// remedy.
func advised(err error) error {
	if errors.Is(err, verify.ErrNotMigrated) {
		return hint.Add(err, "run migrate first, or name its file with --checkpoint")
	}
	if _, ok := errors.AsType[*migrate.BudgetError](err); ok {
		return hint.Add(err, "mend what is said there and run the same command again: these nodes are not recorded; --max-rejected allows more, 100% any number of refused ones")
	}
	if _, ok := errors.AsType[*migrate.VanishedError](err); ok {
		return hint.Add(err, "if the table was emptied because it is migrated, there is nothing to do; if Sentry deleted these nodes before the switch, "+
			"run again with --remove-vanished, or with --retention if they are only old")
	}
	divided, ok := errors.AsType[*migrate.DividedError](err)
	switch {
	case !ok:
		return err
	case divided.Shards == 1:
		of := divided.Division
		return hint.Add(err, fmt.Sprintf("start what is missing: --shard %d/%d; the last one finishes the migration", of.Missing()[0], of.Shards))
	case divided.Division.Shards == 1:
		return hint.Add(err, "resume without --shard, or start over with another index in --checkpoint")
	}
	return hint.Add(err, fmt.Sprintf("resume with %d, or start over with another index in --checkpoint", divided.Division.Shards))
}

// copy has a result also if its error is migrate.ErrInterrupted.
func (c *migrateCommand) copy(ctx context.Context, p *process) (r result, err error) {
	collectEarly()
	options := c.options(p)
	show, err := newDisplay(p, c.outputFlags)
	if err != nil {
		return r, err
	}
	defer func() { show.close(err) }()
	options.Notify = show.event
	governor := c.govern(&options, show)
	opening, opened := p.untilStopped(ctx)
	s, err := c.reach(opening, p, options.Readers, func(cause string, pause time.Duration) {
		governor.PushedBack()
		show.event(migrate.Event{Kind: migrate.Waiting, Cause: cause, Pause: pause})
	})
	opened()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	w := &work{c, p, s, options, show, governor}
	if index, ok := checkpointIndex(c.Checkpoint); ok {
		return w.shared(ctx, index)
	}
	if err := c.openFile(ctx, s); err != nil {
		return r, err
	}
	return w.run(ctx, w.whatToDo())
}

// whatToDo is what a process on its own does with a migration.
func (c *migrateCommand) whatToDo() func(*migrate.Migration, context.Context) (migrate.Summary, error) {
	if c.CompactOnly {
		return (*migrate.Migration).CompactOnly
	}
	return (*migrate.Migration).Run
}

// work is a migration while it runs.
type work struct {
	*migrateCommand
	process  *process
	session  *session
	options  migrate.Options
	show     *display
	governor *governed
}

// run runs a migration on the open checkpoint, or only restores settings.
func (w *work) run(ctx context.Context, run func(*migrate.Migration, context.Context) (migrate.Summary, error)) (r result, err error) {
	s := w.session
	migration := migrate.New(s.Parts, w.options)
	opening, opened := w.process.untilStopped(ctx)
	defer opened()
	if w.RestoreSettings {
		return r, migration.RestoreSettings(opening)
	}
	if err := s.prepareTarget(opening, w.show); err != nil {
		return r, err
	}
	told, err := w.answer(migration)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, told()) }()
	w.governor.watch(ctx, s.Target, w.Control, w.show)
	defer w.governor.close()
	stop := w.show.start(migration)
	summary, err := run(migration, ctx)
	stop()
	if err != nil && !errors.Is(err, migrate.ErrInterrupted) {
		return r, err
	}
	r, countErr := newResult(ctx, summary, s.Rejects)
	return r, errors.Join(countErr, err)
}

// session is what a migration works with while it is open.
type session struct {
	migrate.Parts
	bound checkpoint.Binding // what the checkpoint of a migration belongs to
}

// open reaches both sides and opens the checkpoint in its file.
func (c *migrateCommand) open(ctx context.Context, p *process, readers int, waiting func(string, time.Duration)) (*session, error) {
	s, err := c.reach(ctx, p, readers, waiting)
	if err != nil {
		return s, err
	}
	if err := c.openFile(ctx, s); err != nil {
		return s, errors.Join(err, s.close())
	}
	return s, nil
}

// reach reaches both sides.
func (c *migrateCommand) reach(ctx context.Context, p *process, readers int, waiting func(string, time.Duration)) (s *session, err error) {
	s = &session{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	config, err := c.targetFlags.config(ctx, p)
	if err != nil {
		return s, err
	}
	config.Waiting = waiting
	// One connection beyond the readers prepares the next day meanwhile.
	if s.Source, err = source.Open(ctx, c.sourceFlags.config(p, readers+1)); err != nil {
		return s, err
	}
	if _, err = s.Source.CheckSilo(ctx, c.Region); err != nil {
		return s, err
	}
	if s.Target, err = target.Open(ctx, config); err != nil {
		return s, err
	}
	s.bound, err = c.bind(ctx, s)
	return s, err
}

// openFile opens the checkpoint in its file.
func (c *migrateCommand) openFile(ctx context.Context, s *session) error {
	medium, err := checkpoint.OpenFile(c.Checkpoint)
	if err != nil {
		return err
	}
	if s.Checkpoint, err = checkpoint.Open(ctx, medium, s.bound); err != nil {
		return errors.Join(err, medium.Close())
	}
	if err := s.recordMove(ctx); err != nil {
		return err
	}
	return c.openRejects(s)
}

func (c *migrateCommand) openRejects(s *session) (err error) {
	base, payloads := strings.TrimSuffix(c.Checkpoint, ".checkpoint"), ""
	if c.RejectedPayloads {
		payloads = base + ".rejected-payloads.jsonl.zst"
	}
	s.Rejects, err = migrate.OpenRejects(base+".rejected.jsonl", payloads, s.rejectsSize())
	return err
}

func (s *session) rejectsSize() (size migrate.RejectsSize) {
	s.Checkpoint.View(func(state *checkpoint.State) { size = migrate.RejectsSize(state.Rejected) })
	return size
}

func (s *session) binding(region string) checkpoint.Binding {
	from, to, backend := s.Source.Identity(), s.Target.Identity(), s.Target.Backend()
	return checkpoint.Binding{
		Source: checkpoint.Source{System: from.System, Database: from.Database, Table: from.Table, Region: region},
		Target: checkpoint.Target{Cluster: to.ClusterUUID, Alias: backend.Alias, Index: backend.Index},
	}
}

// origins are those of the source that the checkpoint is bound to.
func (s *session) origins() (origins target.Origins) {
	s.Checkpoint.View(func(state *checkpoint.State) { origins = migrate.Origins(state.Binding) })
	return origins
}

// prepareTarget has the template there, and refuses a target that could not
// hold or give back what is copied, or that another region fills.
func (s *session) prepareTarget(ctx context.Context, show *display) error {
	backend, today := s.Target.Backend(), node.DayOf(time.Now().UnixMicro())
	// A template that does not fit must not be written: nobody changes it later.
	if _, err := s.Target.Preview(ctx, today); err != nil {
		return err
	}
	created, err := s.Target.EnsureTemplate(ctx)
	if err != nil {
		return err
	}
	if created {
		show.event(migrate.Event{Kind: templateEvent, Index: backend.Template})
	}
	if backend.Prefixed() {
		show.event(migrate.Event{Kind: migrate.Warning, Cause: fmt.Sprintf(
			"the backend's cleanup cannot read the date of indices named %s and never removes them: remove old ones yourself", backend.Index)})
	}
	if err := s.Target.CheckContract(ctx, today); err != nil {
		return err
	}
	return s.Target.CheckOrigin(ctx, s.origins())
}

// templateEvent tells that the index template was written.
const templateEvent migrate.Kind = "template"

func (s *session) close() error {
	err := s.closeCheckpoint()
	if s.Source != nil {
		s.Source.Close()
	}
	if s.Target != nil {
		s.Target.Close()
	}
	return err
}

// closeCheckpoint gives the checkpoint free; another one can be opened then.
func (s *session) closeCheckpoint() error {
	var errs []error
	if s.Rejects != nil {
		errs = append(errs, s.Rejects.Close())
	}
	if s.Checkpoint != nil {
		errs = append(errs, s.Checkpoint.Close())
	}
	s.Rejects, s.Checkpoint = nil, nil
	return errors.Join(errs...)
}
