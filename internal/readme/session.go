package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// columns is the width of the terminal.
const columns = 100

// session is a person at a terminal, with servers to migrate between.
type session struct {
	*servers
	tool string // the built binary
	dir  string // where it works, which has the checkpoint
}

// show runs the verbs in the order in which a person would: the status is asked
// for while nodes are copied.
func (s *session) show(ctx context.Context) (map[string]string, error) {
	connect := []string{"--source", s.source(), "--target", s.target()}
	plan, err := s.run(ctx, append([]string{"plan", "--probe"}, connect...), nil)
	if err != nil {
		return nil, err
	}
	var halfway []string
	var status transcript
	var failed error
	migrate, err := s.run(ctx, append([]string{"migrate"}, connect...), func(lines []string) {
		if halfway == nil && progress(lines) >= 50 {
			halfway = lines
			status, failed = s.run(ctx, []string{"status"}, nil)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if halfway == nil {
		return nil, errors.New("it was over before half of it was seen: more -rows will help")
	}
	migrate.lines = withBar(migrate.lines, halfway)
	words, err := machine(s.dir)
	if err != nil {
		return nil, err
	}
	shown := map[string]string{}
	for name, t := range map[string]transcript{"plan": plan, "migrate": migrate, "status": status} {
		shown[name] = s.plausible(t.text())
		if err := fit(shown[name], words); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return shown, nil
}

// transcript is what stands on the screen after a command.
type transcript struct {
	args  []string
	lines []string
	code  int
}

// run runs the tool at a terminal of its own. watch, unless nil, is called with
// what stands on the screen whenever that changes.
func (s *session) run(ctx context.Context, args []string, watch func(lines []string)) (transcript, error) {
	cmd := exec.CommandContext(ctx, s.tool, args...)
	cmd.Dir = s.dir
	// Nothing of the environment of the person who runs this may show.
	cmd.Env = []string{
		"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "TZ=UTC", "TERM=xterm", "NO_COLOR=1",
		"SENTRY_EVENT_RETENTION_DAYS=90", "SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_SHARDS=1",
		"SENTRY_NODESTORE_OPENSEARCH_NUMBER_OF_REPLICA=0", "SENTRY_NODESTORE_OPENSEARCH_INDEX_CODEC=best_compression",
	}
	lines, err := atTerminal(cmd, watch)
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return transcript{}, fmt.Errorf("run %s: %w", args[0], err)
	}
	t := transcript{args, lines, cmd.ProcessState.ExitCode()}
	// Some nodes are rejected, which is what code 3 says.
	if t.code != 0 && (t.code != 3 || args[0] != "migrate") {
		return t, fmt.Errorf("run %s: exit code %d: %s", args[0], t.code, strings.Join(lines, "\n"))
	}
	return t, ctx.Err()
}

// text is the command line, which is wrapped as in the rest of the README, and
// the screen.
func (t transcript) text() string {
	line := "$ nodestore-migrate " + strings.Join(t.args, " ")
	if len(line) > columns {
		line = strings.Replace(line, " --target", " \\\n    --target", 1)
	}
	return line + "\n" + strings.Join(t.lines, "\n")
}

// progress is what the bar in the last line has reached in per cent, -1 if there
// is none.
func progress(lines []string) int {
	match := regexp.MustCompile(`(\d+)% \|`).FindStringSubmatch(lines[len(lines)-1])
	if match == nil {
		return -1
	}
	percent, err := strconv.Atoi(match[1])
	if err != nil {
		return -1
	}
	return percent
}

// withBar puts the bar where it stood half way: at the end it is gone from the
// screen, and the lines that came later are in its place.
func withBar(lines, halfway []string) []string {
	bar := len(halfway) - 1
	return slices.Insert(slices.Clone(lines), min(bar, len(lines)), halfway[bar])
}
