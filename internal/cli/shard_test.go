package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/checkpoint/onindex"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// kubernetesJob is all that deploy/kubernetes-job.yaml may say: a field that
// Kubernetes does not know, or that is in the wrong place, is an error.
type kubernetesJob struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   kubernetesMetadata
	Spec       struct {
		CompletionMode   string `yaml:"completionMode"`
		Completions      int
		Parallelism      int
		BackoffLimit     int                              `yaml:"backoffLimit"`
		PodFailurePolicy struct{ Rules []kubernetesRule } `yaml:"podFailurePolicy"`
		Template         struct {
			Metadata kubernetesMetadata
			Spec     kubernetesPod
		}
	}
}

type kubernetesMetadata struct {
	Name   string
	Labels map[string]string
}

type kubernetesRule struct {
	Action          string
	OnPodConditions []struct{ Type, Status string } `yaml:"onPodConditions"`
	OnExitCodes     struct {
		ContainerName string `yaml:"containerName"`
		Operator      string
		Values        []int
	} `yaml:"onExitCodes"`
}

type kubernetesPod struct {
	RestartPolicy                 string `yaml:"restartPolicy"`
	TerminationGracePeriodSeconds int    `yaml:"terminationGracePeriodSeconds"`
	AutomountServiceAccountToken  bool   `yaml:"automountServiceAccountToken"`
	SecurityContext               struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		RunAsUser      int                   `yaml:"runAsUser"`
		RunAsGroup     int                   `yaml:"runAsGroup"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []kubernetesContainer
}

type kubernetesContainer struct {
	Name, Image string
	Args        []string
	Env         []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct {
				Name, Key string
				Optional  bool
			} `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	Resources       struct{ Requests, Limits map[string]string }
	SecurityContext struct {
		AllowPrivilegeEscalation bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
}

func readJob(t *testing.T) (job kubernetesJob) {
	t.Helper()
	content, err := os.ReadFile("../../deploy/kubernetes-job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&job); err != nil {
		t.Fatal(err)
	}
	return job
}

func TestKubernetesJob(t *testing.T) {
	t.Parallel()
	job := readJob(t)
	if job.APIVersion != "batch/v1" || job.Kind != "Job" || job.Spec.CompletionMode != "Indexed" || len(job.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%s %s, %s", job.APIVersion, job.Kind, job.Spec.CompletionMode)
	}
	pod := job.Spec.Template.Spec
	c := pod.Containers[0]
	// A podFailurePolicy is refused with any other restartPolicy.
	if pod.RestartPolicy != "Never" || job.Spec.Parallelism > job.Spec.Completions {
		t.Errorf("restartPolicy %s, %d of %d pods at once", pod.RestartPolicy, job.Spec.Parallelism, job.Spec.Completions)
	}
	if !pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.RunAsUser == 0 || c.SecurityContext.AllowPrivilegeEscalation || !c.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("the pod may do more than it needs: %+v, %+v", pod.SecurityContext, c.SecurityContext)
	}
	for _, rule := range job.Spec.PodFailurePolicy.Rules {
		if rule.OnPodConditions == nil && (rule.OnExitCodes.ContainerName != c.Name || rule.OnExitCodes.Operator != "In" || slices.Contains(rule.OnExitCodes.Values, 0)) {
			t.Errorf("rule %+v", rule)
		}
	}
	known := knownVariables(t)
	for _, e := range c.Env {
		if !known[e.Name] {
			t.Errorf("nobody reads the variable %s", e.Name)
		}
		if strings.Contains(e.Name, "PASSWORD") && e.Value != "" || e.Name == "NODESTORE_SOURCE" && e.ValueFrom.SecretKeyRef.Key == "" {
			t.Errorf("%s does not come from a Secret", e.Name)
		}
		if e.Name == "NODESTORE_SHARDS" && e.Value != fmt.Sprint(job.Spec.Completions) {
			t.Errorf("%s shards, %d completions", e.Value, job.Spec.Completions)
		}
	}
}

// knownVariables are those of the flags of migrate, and the password, which has none.
func knownVariables(t *testing.T) map[string]bool {
	t.Helper()
	var g grammar
	parser, err := kong.New(&g, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"NODESTORE_TARGET_PASSWORD": true}
	for _, verb := range parser.Model.Children {
		for _, flag := range verb.Flags {
			for _, name := range flag.Envs {
				known[name] = known[name] || verb.Name == "migrate"
			}
		}
	}
	return known
}

// The command line of the Job, as each of its pods would read it.
func TestKubernetesJobIsUnderstood(t *testing.T) {
	job := readJob(t)
	c := job.Spec.Template.Spec.Containers[0]
	for _, e := range c.Env {
		t.Setenv(e.Name, e.Value)
	}
	t.Setenv("NODESTORE_SOURCE", "postgres://sentry@postgres/sentry")
	t.Setenv("NODESTORE_TARGET", "https://opensearch:9200")
	for index := range job.Spec.Completions {
		t.Setenv("JOB_COMPLETION_INDEX", fmt.Sprint(index))
		var stderr bytes.Buffer
		selected, code := parse(&process{stdout: &stderr, stderr: &stderr, getenv: os.Getenv}, c.Args)
		verb, ok := selected.(*migrateCommand)
		if !ok {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		if number, of := verb.shard(); number != index || of != job.Spec.Completions {
			t.Errorf("pod %d is shard %d of %d", index, number, of)
		}
	}
}

func TestShardFlags(t *testing.T) {
	for _, test := range []struct {
		job   string
		flags []string
		want  string // what is wrong, or the shard
	}{
		{"", nil, "0/1"},
		{"", []string{"--shard", "2/4"}, "2/4"},
		{"3", []string{"--shards", "4"}, "3/4"},
		{"0", []string{"--shards", "1"}, "0/1"},
		{"1", []string{"--shard", "2/4"}, "2/4"}, // what is said twice is meant
		{"", []string{"--shard", "4/4"}, "--shard:"},
		{"", []string{"--shard", "-1/4"}, "--shard:"},
		{"", []string{"--shard", "1"}, "--shard:"},
		{"", []string{"--shard", "1/0"}, "--shard:"},
		{"", []string{"--shard", "2/4", "--shards", "5"}, "--shard has 4 parts, and --shards 5"},
		{"", []string{"--shards", "4"}, "$JOB_COMPLETION_INDEX does not say"},
		{"4", []string{"--shards", "4"}, "$JOB_COMPLETION_INDEX: \"4\" is no shard of 4"},
		{"x", []string{"--shards", "4"}, "$JOB_COMPLETION_INDEX: \"x\" is no shard of 4"},
		{"1", nil, "$JOB_COMPLETION_INDEX is set"},
		{"", []string{"--shards=-1"}, "--shards: -1 is no whole number"},
		{"", []string{"--lease", "1ms"}, "--lease: 1ms is less than 100ms"},
		{"", []string{"--checkpoint", "opensearch:"}, "the index has no name"},
		{"", []string{"--rejected-payloads"}, "payloads are not kept in an index"},
		{"", []string{"--shard", "1/2", "--checkpoint", "a.checkpoint"}, "several machines share no file"},
	} {
		t.Run(strings.Join(append(test.flags, test.job), " "), func(t *testing.T) {
			t.Setenv("JOB_COMPLETION_INDEX", test.job)
			if test.job == "" {
				os.Unsetenv("JOB_COMPLETION_INDEX") // t.Setenv restores it
			}
			var stderr bytes.Buffer
			args := append([]string{"migrate", "--target", "http://127.0.0.1:9", "--checkpoint", "opensearch:a"}, test.flags...)
			selected, code := parse(&process{stdout: &stderr, stderr: &stderr, getenv: os.Getenv}, args)
			got := stderr.String()
			if verb, ok := selected.(*migrateCommand); ok {
				number, of := verb.shard()
				got = fmt.Sprintf("%d/%d", number, of)
			}
			if !strings.Contains(got, test.want) || (selected == nil) != (code == exitUsage) {
				t.Errorf("exit code %d, %s; want %s", code, got, test.want)
			}
		})
	}
}

// Who finishes has made the checkpoint of the whole and not yet gathered the
// shards' into it: what they did is shown.
func TestStatusBeforeGathering(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	alias := "nm" + strings.ToLower(rand.Text()[:10])
	to, err := target.Open(ctx, target.Config{
		URLs:    []string{testservers.OpenSearch(t, testservers.OpenSearchVersions()[0])},
		Backend: target.Backend{Alias: alias, Template: alias, Index: alias + "-{date}", Pattern: alias + "-*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.Close)
	team := migrate.Team{Target: to, Records: to.Records("records-" + alias), Shards: 2}
	t.Cleanup(func() {
		if err := to.Drop(context.WithoutCancel(ctx), team.Records.Index()); err != nil {
			t.Error(err)
		}
	})
	if err := team.Records.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	division, err := json.Marshal(migrate.Division{Shards: 2, Done: []int{0, 1}})
	if err == nil {
		_, err = team.Records.Put(ctx, alias+"/division", division, target.Record{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range []string{team.Part(0), team.Part(1), team.Whole()} {
		medium, err := onindex.Open(ctx, onindex.Place{Records: team.Records, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		c, err := checkpoint.Open(ctx, medium, checkpoint.Binding{})
		if err == nil && key != team.Whole() {
			err = c.Update(ctx, func(state *checkpoint.State) { state.Day(node.Day(20_000 + i)).Bytes = 7 })
		}
		if err := errors.Join(err, medium.Close()); err != nil {
			t.Fatal(err)
		}
	}
	state, err := readState(ctx, "opensearch:"+team.Records.Index(), to)
	if err != nil || len(state.Days) != 2 || state.Day(20_001).Bytes != 7 {
		t.Errorf("%+v, %v; want two days", state.Days, err)
	}
}
