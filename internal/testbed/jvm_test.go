package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// newJDK makes a folder that looks like a JDK of a version.
func newJDK(t *testing.T, version string) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	release := fmt.Sprintf("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"%s\"\n", version)
	for name, content := range map[string]string{"bin/java": "", "release": release} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func TestNearestJDK(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		openSearch string
		installed  []string
		want       int // index of installed, -1 for none
	}{
		{"2.19.4", []string{"1.8.0_402", "11.0.2", "17.0.15", "21", "25.0.1"}, 2},
		{"2.19.4", []string{"25.0.1", "21.0.4"}, 1},
		{"2.19.4", []string{"1.8.0_402", "25"}, -1},
		{"3.4.0", []string{"17.0.15", "25.0.1", "21.0.4"}, 2},
		{"3.4.0", []string{"17.0.15", "25.0.1"}, 1},
		{"3.4.0", []string{"17.0.15"}, -1},
		{"3.4.0", nil, -1},
	} {
		homes := []string{t.TempDir()} // no JDK at all
		for _, version := range test.installed {
			homes = append(homes, newJDK(t, version))
		}
		want := ""
		if test.want >= 0 {
			want = homes[1+test.want]
		}
		if got := jdksFor(test.openSearch).nearest(homes); got != want {
			t.Errorf("OpenSearch %s of %v: %s, want %s", test.openSearch, test.installed, got, want)
		}
	}
}
