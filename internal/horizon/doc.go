// Package horizon is a client of the REST calls of Horizon's core that the bridge and the
// import need: its webhooks, the logs of what it sent, the paths of what events are about,
// and the walk over all groups, applications and clusters. Every call is bounded in time and
// size and made once. Tokens and secrets are in no error and in nothing that is printed.
package horizon
