package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// root is the folder that an image is built from.
const root = "../.."

// readDeployed decodes a file of deploy/ into what it may say: a field that is
// not in there, or in the wrong place, is an error.
func readDeployed(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// knownVariables are those of the flags of migrate, the password, which has
// none, the backend's, and libpq's password file.
func knownVariables(t *testing.T) map[string]bool {
	t.Helper()
	var g grammar
	parser, err := kong.New(&g, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"NODESTORE_TARGET_PASSWORD": true, "PGPASSFILE": true}
	for _, verb := range parser.Model.Children {
		for _, flag := range verb.Flags {
			for _, name := range flag.Envs {
				known[name] = known[name] || verb.Name == "migrate"
			}
		}
	}
	_, err = target.BackendFromEnv(func(name string) string { known[name] = true; return "" }, target.Custom{})
	if err != nil {
		t.Fatal(err)
	}
	return known
}

// stage is a stage of a Dockerfile: its image, and its instructions by name.
type stage struct {
	image, name string
	steps       map[string][]string
}

// readDockerfile knows the instructions that the Dockerfile may have. ADD is
// none of them, as it could fetch; nor are ENV and ARG, which stay readable in
// the image.
func readDockerfile(t *testing.T) (stages []stage) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(content), "\\\n", " ")
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch words := strings.Fields(rest); {
		case name == "" || strings.HasPrefix(name, "#"):
		case name == "FROM" && len(words) == 3 && words[1] == "AS":
			stages = append(stages, stage{words[0], words[2], map[string][]string{}})
		case name == "FROM" && len(words) == 1:
			stages = append(stages, stage{words[0], "", map[string][]string{}})
		case len(stages) > 0 && slices.Contains([]string{"WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}, name):
			steps := stages[len(stages)-1].steps
			steps[name] = append(steps[name], rest)
		default:
			t.Fatalf("an instruction that no one expects: %s", line)
		}
	}
	if len(stages) != 2 {
		t.Fatalf("%d stages, want one that builds and one that runs", len(stages))
	}
	return stages
}

// only is the one instruction of that name.
func (s stage) only(t *testing.T, name string) string {
	t.Helper()
	if len(s.steps[name]) != 1 {
		t.Fatalf("%d times %s, want it once: %q", len(s.steps[name]), name, s.steps[name])
	}
	return s.steps[name][0]
}

// words is an instruction in its form without a shell.
func (s stage) words(t *testing.T, name string) (list []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.only(t, name)), &list); err != nil || len(list) == 0 {
		t.Fatalf("%s %s: no list of words: %v", name, s.only(t, name), err)
	}
	return list
}

// builds is where the RUN that builds the tool puts the binary.
func (s stage) builds(t *testing.T) (binary string) {
	t.Helper()
	for _, run := range s.steps["RUN"] {
		if binary, found := strings.CutPrefix(run, "deploy/release.sh binary "); found {
			return binary
		}
	}
	t.Fatalf("nothing is built: %q", s.steps["RUN"])
	return ""
}

func TestDockerfileBuildStage(t *testing.T) {
	t.Parallel()
	build := readDockerfile(t)[0]
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))
	if version == nil || build.image != "golang:"+version[1] {
		t.Errorf("built with %s, go.mod has %q", build.image, version)
	}
	for _, step := range build.steps["COPY"] {
		words := strings.Fields(step)
		for _, source := range words[:len(words)-1] {
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Errorf("COPY %s: %v", step, err)
			}
		}
	}
}

// What runs is a small image with the binary and a folder, and no root.
func TestDockerfileFinalStage(t *testing.T) {
	t.Parallel()
	stages := readDockerfile(t)
	build, final := stages[0], stages[1]
	if !strings.HasPrefix(final.image, "gcr.io/distroless/static") || len(final.steps["RUN"]) > 0 {
		t.Errorf("image %s, in which %q is run", final.image, final.steps["RUN"])
	}
	user := final.only(t, "USER")
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("USER %s is not two numbers, or root", user)
	}
	binary := build.builds(t)
	folder := final.only(t, "WORKDIR")
	want := []string{
		"--from=" + build.name + " " + binary + " " + binary,
		// A volume that is mounted there must be writable.
		"--from=" + build.name + " --chown=" + user + " " + folder + " " + folder,
	}
	if !slices.Equal(final.steps["COPY"], want) || !slices.Contains(build.steps["RUN"], "mkdir "+folder) {
		t.Errorf("COPY %q, want %q of what was made by %q", final.steps["COPY"], want, build.steps["RUN"])
	}
	if entry := final.words(t, "ENTRYPOINT"); len(entry) != 1 || entry[0] != binary {
		t.Errorf("ENTRYPOINT %q is not the binary", entry)
	}
	var stdout bytes.Buffer
	if _, code := parse(&process{stdout: &stdout, stderr: &stdout, getenv: os.Getenv}, final.words(t, "CMD")); code != exitDone {
		t.Errorf("CMD: exit code %d: %s", code, stdout.String())
	}
}

// The command that builds the image's binary builds one.
func TestDockerfileBuilds(t *testing.T) {
	t.Parallel()
	readDockerfile(t)[0].builds(t)
	binary := filepath.Join(t.TempDir(), "nodestore-migrate")
	build := exec.CommandContext(t.Context(), "deploy/release.sh", "binary", binary)
	build.Dir = root
	// A checkout that belongs to another user is fine, as in a container.
	build.Env = append(os.Environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	output, err := exec.CommandContext(t.Context(), binary, "--version").Output()
	want := regexp.MustCompile(`^nodestore-migrate \S+.* ` + regexp.QuoteMeta(runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH) + `\n$`)
	if err != nil || !want.Match(output) {
		t.Errorf("--version: %q, %v", output, err)
	}
}
