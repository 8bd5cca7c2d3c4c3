package message

import (
	"fmt"
	"time"
)

// vocabulary has the words of a language.
type vocabulary struct {
	// titles have a place for the name of what they are about; those of members for the
	// person, the role and the resource.
	titles map[string]string
	// test has a place for the name of the Webhook.
	test string
	// colon comes between a name and a value, and between a title and the reason that
	// Kubernetes gives.
	colon string
	// foreign comes before a word of another language.
	foreign string
	// brackets have a place for a text and one for what explains it.
	brackets string
	// pipelines are the actions of pipelineruns, refs what they build, and resources what has
	// members.
	pipelines, refs, resources map[string]string
	// Names of facts.
	cluster, application, environment, priority, action, title, description, gitRef, person string
	object, says, pods, details, webhook, event, path, user, time                           string
	// member stands for a role that is not told.
	member     string
	zone       *time.Location
	timeFormat string
}

// beside returns a text with what explains it, where that is there.
func (v vocabulary) beside(text, explanation string) string {
	if text == "" || explanation == "" {
		return text + explanation
	}
	return fmt.Sprintf(v.brackets, text, explanation)
}

var english = vocabulary{
	titles: map[string]string{
		"application_created":      "Application %s was created",
		"application_updated":      "Application %s was updated",
		"application_deleted":      "Application %s was deleted",
		"application_transferred":  "Application %s was moved to another group",
		"cluster_created":          "Cluster %s was created",
		"cluster_updated":          "Cluster %s was updated",
		"cluster_deleted":          "Cluster %s was deleted",
		"cluster_builddeployed":    "Cluster %s was built and is being deployed",
		"cluster_deployed":         "Cluster %s is being deployed",
		"cluster_rollbacked":       "Cluster %s is being rolled back",
		"cluster_freed":            "Cluster %s was freed",
		"cluster_restarted":        "Cluster %s was restarted",
		"cluster_rescheduled":      "Pods of cluster %s were rescheduled",
		"cluster_action":           "An action was run on cluster %s",
		"cluster_kubernetes_event": "Kubernetes event in cluster %s",
		"pipelinerun_created":      "A pipelinerun of cluster %s was created",
		"pipelinerun_executed":     "A pipelinerun of cluster %s is being executed",
		"pipelinerun_cancelled":    "A pipelinerun of cluster %s was cancelled",
		"member_created":           "%[1]s was added to %[3]s as %[2]s",
		"member_updated":           "%[1]s is now %[2]s of %[3]s",
		"member_deleted":           "%[1]s is no longer %[2]s of %[3]s",
	},
	test:  "This is a test of the webhook %s: nothing has happened",
	colon: ": ", brackets: "%s (%s)",
	pipelines: map[string]string{
		"builddeploy": "build and deploy", "deploy": "deploy", "rollback": "rollback",
	},
	refs:        map[string]string{},
	resources:   map[string]string{"applications": "application", "clusters": "cluster", "groups": "group", "templates": "template"},
	cluster:     "Cluster",
	application: "Application",
	environment: "Environment",
	priority:    "Priority",
	action:      "Action",
	title:       "Title",
	description: "Description",
	gitRef:      "Git",
	person:      "Member",
	object:      "Object",
	says:        "Message",
	pods:        "Pods",
	details:     "Details",
	webhook:     "Webhook",
	event:       "Event",
	path:        "Path",
	user:        "By",
	time:        "Time",
	member:      "member",
	zone:        time.UTC,
	timeFormat:  "2006-01-02 15:04:05 UTC",
}

var chinese = vocabulary{
	titles: map[string]string{
		"application_created":      "应用 %s 已创建",
		"application_updated":      "应用 %s 已更新",
		"application_deleted":      "应用 %s 已删除",
		"application_transferred":  "应用 %s 已转移到其他分组",
		"cluster_created":          "集群 %s 已创建",
		"cluster_updated":          "集群 %s 已更新",
		"cluster_deleted":          "集群 %s 已删除",
		"cluster_builddeployed":    "集群 %s 构建完成，开始部署",
		"cluster_deployed":         "集群 %s 开始部署",
		"cluster_rollbacked":       "集群 %s 开始回滚",
		"cluster_freed":            "集群 %s 已释放",
		"cluster_restarted":        "集群 %s 已重启",
		"cluster_rescheduled":      "集群 %s 的 Pod 已重新调度",
		"cluster_action":           "集群 %s 已执行操作",
		"cluster_kubernetes_event": "集群 %s 的 Kubernetes 事件",
		"pipelinerun_created":      "集群 %s 的流水线已创建",
		"pipelinerun_executed":     "集群 %s 的流水线开始执行",
		"pipelinerun_cancelled":    "集群 %s 的流水线已取消",
		"member_created":           "%[1]s 已被添加为%[3]s 的%[2]s",
		"member_updated":           "%[1]s 现在是%[3]s 的%[2]s",
		"member_deleted":           "%[1]s 不再是%[3]s 的%[2]s",
	},
	test:  "这是 Webhook %s 的测试消息，没有发生任何事件",
	colon: "：", foreign: " ", brackets: "%s（%s）",
	pipelines: map[string]string{
		"builddeploy": "构建并部署", "deploy": "部署", "rollback": "回滚",
	},
	refs:        map[string]string{"branch": "分支", "tag": "标签", "commit": "提交"},
	resources:   map[string]string{"applications": "应用", "clusters": "集群", "groups": "分组", "templates": "模板"},
	cluster:     "集群",
	application: "应用",
	environment: "环境",
	priority:    "优先级",
	action:      "操作",
	title:       "标题",
	description: "描述",
	gitRef:      "Git",
	person:      "成员",
	object:      "对象",
	says:        "消息",
	pods:        "Pod",
	details:     "详情",
	webhook:     "Webhook",
	event:       "事件",
	path:        "路径",
	user:        "操作人",
	time:        "时间",
	member:      "成员",
	zone:        beijing,
	timeFormat:  "2006-01-02 15:04:05（北京时间）",
}
