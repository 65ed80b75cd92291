package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// composeFile is all that deploy/self-hosted.yaml may say.
type composeFile struct {
	Services map[string]composeService
	Volumes  map[string]*struct{}
	Secrets  map[string]struct{ File string }
}

type composeService struct {
	Image       string
	Profiles    []string
	User        string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	WorkingDir  string   `yaml:"working_dir"`
	Volumes     []string
	Secrets     []string
	Environment map[string]string
}

func readCompose(t *testing.T) (composeFile, composeService) {
	t.Helper()
	var file composeFile
	readDeployed(t, "self-hosted.yaml", &file)
	service, ok := file.Services["nodestore-migrate"]
	if !ok || len(file.Services) != 1 {
		t.Fatalf("%d services, want nodestore-migrate", len(file.Services))
	}
	return file, service
}

// The service may do as much as the image's user may, and keeps the checkpoint.
func TestComposeService(t *testing.T) {
	t.Parallel()
	file, service := readCompose(t)
	final := readDockerfile(t)[1]
	if service.Image != "nodestore-migrate" || service.User != final.only(t, "USER") || service.WorkingDir != final.only(t, "WORKDIR") {
		t.Errorf("image %s, user %s, in %s: not as the Dockerfile has it", service.Image, service.User, service.WorkingDir)
	}
	if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("the service may do more than it needs: %+v", service)
	}
	// A profile keeps it from starting with Sentry.
	if len(service.Profiles) == 0 {
		t.Error("the service has no profile")
	}
	for volume := range file.Volumes {
		if !slices.Equal(service.Volumes, []string{volume + ":" + service.WorkingDir}) {
			t.Errorf("volumes %q, want %s at the working directory", service.Volumes, volume)
		}
	}
	if len(file.Volumes) != 1 || len(file.Secrets) != len(service.Secrets) {
		t.Errorf("%d volumes, %d secrets of which the service has %d", len(file.Volumes), len(file.Secrets), len(service.Secrets))
	}
}

// dollar is a variable of the host in a compose file: its name, and its default.
var dollar = regexp.MustCompile(`\$\{([A-Z_]+):-([^}]*)\}`)

func TestComposeVariables(t *testing.T) {
	t.Parallel()
	file, service := readCompose(t)
	known := knownVariables(t)
	for name, value := range service.Environment {
		if !known[name] {
			t.Errorf("nobody reads the variable %s", name)
		}
		if strings.HasSuffix(name, "PASSWORD") {
			t.Errorf("%s: a password in the environment", name)
		}
		match := dollar.FindStringSubmatch(value)
		if strings.Contains(value, "$") && (match == nil || match[0] != value || match[1] != name) {
			t.Errorf("%s: %s is not the same variable with a default", name, value)
		}
	}
	for name, secret := range file.Secrets {
		if !slices.Contains(service.Secrets, name) {
			t.Errorf("the service has no secret %s", name)
		}
		if match := dollar.FindStringSubmatch(secret.File); match == nil || service.Environment[match[1]] != "/run/secrets/"+name {
			t.Errorf("secret %s of %s: no variable of the service says where it is", name, secret.File)
		}
	}
}

// Each command line in the comment, as the service would read it: with nothing
// set, and with passwords in files.
func TestComposeIsUnderstood(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name     string
		host     map[string]string
		password string
	}{
		{"defaults", nil, ""},
		{"passwords", map[string]string{
			"NODESTORE_TARGET_USERNAME":      "admin",
			"NODESTORE_TARGET_PASSWORD_FILE": write("opensearch", "geheim\n"),
			"PGPASSFILE":                     write("pgpass", "*:*:*:*:geheim\n"),
		}, "geheim"},
	} {
		t.Run(test.name, func(t *testing.T) {
			setComposeEnvironment(t, test.host)
			for _, args := range composeCommands(t) {
				from, to := connections(t, args)
				if from.Password != test.password || to.Password != test.password || to.Username != test.host["NODESTORE_TARGET_USERNAME"] {
					t.Errorf("%q: the passwords are not those of the files", args)
				}
				if from.Host == "" || len(to.URLs) != 1 || to.Backend.Pattern != "sentry-*" || to.Backend.Shards != 3 {
					t.Errorf("%q: from %s to %q, %+v", args, from.Host, to.URLs, to.Backend)
				}
			}
		})
	}
}

// setComposeEnvironment is what compose makes of the variables of a host, and
// puts the files of the host where it would mount them.
func setComposeEnvironment(t *testing.T, host map[string]string) {
	t.Helper()
	file, service := readCompose(t)
	resolve := func(value string) string {
		if match := dollar.FindStringSubmatch(value); match != nil {
			if value = host[match[1]]; value == "" {
				value = match[2]
			}
		}
		return value
	}
	for name, value := range service.Environment {
		value = resolve(value)
		if secret, ok := strings.CutPrefix(value, "/run/secrets/"); ok {
			value = resolve(file.Secrets[secret].File)
		}
		t.Setenv(name, value)
	}
}

// composeCommands are the command lines that the file's comment names.
func composeCommands(t *testing.T) (list [][]string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "deploy", "self-hosted.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^# .* run --rm nodestore-migrate (.*)$`).FindAllStringSubmatch(string(content), -1) {
		list = append(list, strings.Fields(match[1]))
	}
	if len(list) < 3 {
		t.Fatalf("only %q: the comment does not say how to use it", list)
	}
	return list
}

// connections is where a command line reads and writes. The checkpoint must be
// a file in the working directory, which is the volume.
func connections(t *testing.T, args []string) (*pgx.ConnConfig, target.Config) {
	t.Helper()
	p := &process{stdout: io.Discard, stderr: &bytes.Buffer{}, getenv: os.Getenv}
	selected, code := parse(p, args)
	var from sourceFlags
	var to targetFlags
	var checkpoint string
	switch verb := selected.(type) {
	case *planCommand:
		from, to, checkpoint = verb.sourceFlags, verb.targetFlags, verb.Checkpoint
	case *migrateCommand:
		from, to, checkpoint = verb.sourceFlags, verb.targetFlags, verb.Checkpoint
	case *verifyCommand:
		from, to, checkpoint = verb.sourceFlags, verb.targetFlags, verb.Checkpoint
	case *statusCommand:
		from.Source, to, checkpoint = os.Getenv("NODESTORE_SOURCE"), verb.targetFlags, verb.Checkpoint
	default:
		t.Fatalf("%q: exit code %d: %s", args, code, p.stderr)
	}
	if checkpoint == "" || filepath.Base(checkpoint) != checkpoint {
		t.Errorf("%q: the checkpoint %q is not in the working directory", args, checkpoint)
	}
	config, err := to.config(t.Context(), p)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	connection, err := pgx.ParseConfig(from.Source)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return connection, config
}
