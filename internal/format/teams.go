package format

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// teams is an Adaptive Card for a workflow of Microsoft Teams
// (https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook).
//
// Address: that of a workflow which posts to a channel when a webhook request is received.
// Limits: 28 KB a message; 4 a second and 60 in 30 seconds, documented for the connectors that
// the workflows replace; a 429 says in Retry-After how long to wait.
// Texts: those of a TextRun are read as they are; TextBlock and FactSet are Markdown without a
// documented escape. Mentions are made by msteams.entities only.
// Success: a 2xx, mostly 202, before the message is in the channel. Connectors answer 200 to
// what they could not post, and say so in the body.
var teams = Format{
	Name:    v1alpha1.PayloadTeams,
	Title:   "Teams",
	Summary: "an Adaptive Card for a workflow of a Microsoft Teams channel",

	ContentType: signing.ContentType,
	Proof:       "the address of the workflow",
	Room:        true,
	RateLimit:   v1alpha1.RateLimit{Requests: 2, PerSeconds: 1},

	template: `{
  "type": "message",
  "attachments": [{
    "contentType": "application/vnd.microsoft.card.adaptive",
    "content": {
      "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
      "type": "AdaptiveCard",
      "version": "1.4",
      "msteams": {"width": "Full"},
      "body": [
        {
          "type": "Container",
          "bleed": true,
          "style": {"good": "good", "bad": "attention", "warning": "warning", "neutral": "accent"}[message.tone],
          "items": [{
            "type": "RichTextBlock",
            "inlines": [{"type": "TextRun", "text": message.sign + " " + message.title, "weight": "Bolder", "size": "Medium"}],
          }],
        },
        {
          "type": "Container",
          "items": message.facts.map(f, {
            "type": "RichTextBlock",
            "spacing": "Small",
            "inlines": [
              {"type": "TextRun", "text": f.name + message.colon, "weight": "Bolder"},
              {"type": "TextRun", "text": f.value},
            ],
          }),
        },
      ],
    },
  }],
}`,
	judge: judgeTeams,
}

// teamsFinal are the codes of failures that no retry would mend.
var teamsFinal = map[string]string{
	"WorkflowNotFound":               "the workflow was deleted: make one, and copy its address",
	"WorkflowTriggerIsNotEnabled":    "the workflow is switched off or was deleted: switch it on, or make one and copy its address",
	"DirectApiAuthorizationRequired": "the workflow takes requests of signed-in users only: let anyone trigger it",
	"TriggerInputSchemaMismatch":     "the body is not one that the workflow takes: mind spec.payload.template",
}

const connectorFailed = "Webhook message delivery failed"

func judgeTeams(_ int, body []byte) Verdict {
	if text := string(body); strings.HasPrefix(text, connectorFailed) {
		v := Verdict{Refused: true, Why: text}
		if strings.Contains(text, "HTTP error 429") {
			v.Rest = untilSpanIsOver
		}
		return v
	}
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil || said.Error.Code == "" {
		return Verdict{}
	}
	v := Verdict{Refused: true, Why: said.Error.Code + ": " + said.Error.Message}
	if meaning, ok := teamsFinal[said.Error.Code]; ok {
		v.Final, v.Why = true, fmt.Sprintf("%s (%s)", said.Error.Code, meaning)
	}
	return v
}
