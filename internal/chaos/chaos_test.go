package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/cli"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(cli.Main())
	}
	os.Exit(m.Run())
}

// TestCampaign is a short one: its seed has rows that are rejected.
func TestCampaign(t *testing.T) {
	var out strings.Builder
	if err := campaign(t.Context(), options{faults: 30, rows: 600, seed: 1, limit: time.Minute, tables: 1}, &out); err != nil {
		t.Error(err)
	}
	t.Log(out.String())
}
