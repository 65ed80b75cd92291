package cli

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/opensearch-project/opensearch-go/v4/signer"
	"github.com/opensearch-project/opensearch-go/v4/signer/awsv2"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// awsFlags sign requests for a cluster of Amazon's.
type awsFlags struct {
	TargetAWSRegion  string `name:"target-aws-region" help:"Sign requests with AWS Signature Version 4 for this region; credentials come from where AWS's own tools find them." env:"NODESTORE_TARGET_AWS_REGION" placeholder:"REGION" group:"Target"`
	TargetAWSService string `name:"target-aws-service" help:"Service that requests are signed for." env:"NODESTORE_TARGET_AWS_SERVICE" default:"es" placeholder:"NAME" group:"Target"`
}

// signer returns what signs requests, or nil if they are not to be signed.
func (f *awsFlags) signer(ctx context.Context) (signer.Signer, error) {
	if f.TargetAWSRegion == "" {
		return nil, nil
	}
	if f.TargetAWSService == "aoss" {
		return nil, target.ErrServerless
	}
	found, err := config.LoadDefaultConfig(ctx, config.WithRegion(f.TargetAWSRegion))
	if err != nil {
		return nil, fmt.Errorf("read AWS configuration: %w", err)
	}
	if _, err := found.Credentials.Retrieve(ctx); err != nil {
		return nil, hint.Add(fmt.Errorf("find AWS credentials: %w", err),
			"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is attached")
	}
	return awsv2.NewSignerWithService(found, f.TargetAWSService)
}
