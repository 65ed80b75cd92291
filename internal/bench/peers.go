package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// What a user of Python has today, as of November 2026.
var peerPackages = []string{"opensearch-py==3.2.0", "psycopg[binary]==3.3.9"}

//go:embed peers/bulk.py
var peerScript []byte

// peers are the scripts that people write instead of using the tool, in a virtual
// environment of Python's own.
type peers struct {
	*bed
	python, script string
}

// newPeers makes the environment, from PyPI.
func (b *bed) newPeers(ctx context.Context) (*peers, error) {
	say("Installing the peers: " + strings.Join(peerPackages, ", ") + " ...")
	home := filepath.Join(b.dir, "peers")
	p := &peers{b, filepath.Join(home, "bin", "python"), filepath.Join(home, "bulk.py")}
	for _, words := range [][]string{{"python3", "-m", "venv", home}, append([]string{p.python, "-m", "pip", "install", "--quiet"}, peerPackages...)} {
		if output, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("install the peers: %w: %s", err, output)
		}
	}
	return p, os.WriteFile(p.script, peerScript, 0o600)
}

// run copies the table as a script does, until it is readable and flushed. helper is
// bulk or parallel.
func (p *peers) run(helper string) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		cmd := exec.CommandContext(ctx, p.python, p.script, p.source, p.target, table, alias, helper)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		started := time.Now()
		if err := cmd.Start(); err != nil {
			return sample{}, fmt.Errorf("start %s: %w", p.python, err)
		}
		peak, err := wait(cmd)
		if err != nil {
			return sample{}, fmt.Errorf("run a peer: %w: %s", err, said.String())
		}
		s := sample{Seconds: time.Since(started).Seconds(), PeakBytes: peak, bytes: p.bytes, nodes: p.rows}
		s.CPUSeconds = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		count, err := p.api.Count(ctx, alias, nil)
		if err == nil && count != p.rows {
			err = fmt.Errorf("a peer: %d documents behind the alias, want %d", count, p.rows)
		}
		return s, err
	}
}
