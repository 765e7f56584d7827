"""The Slack adapter: Slack's payloads in, Block Kit out. The only home of slack_bolt."""
