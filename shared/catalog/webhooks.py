"""Codes of webhooks: how a delivery is signed, what became of it, why an endpoint is held."""

from __future__ import annotations

from shared.catalog.labels import Label, Labels

WEBHOOK_SIGNATURES: Labels = {
    "v1": Label("HMAC-SHA256 with a shared secret", "HMAC-SHA256（共享密钥）"),
    "v1a": Label("Ed25519 with a public key", "Ed25519（公钥）"),
}
WEBHOOK_API_VERSIONS: Labels = {"v1": Label("The first edition", "第一版")}
WEBHOOK_DELIVERY_STATUSES: Labels = {
    "pending": Label("Waiting for its next attempt", "等待投递"),
    "delivered": Label("Delivered", "已送达"),
    "failed": Label("Given up", "投递失败"),
    "skipped": Label("Not wanted any more", "已跳过"),
}
WEBHOOK_OUTCOMES: Labels = {
    "success": Label("The receiver answered 2xx", "接收成功（2xx）"),
    "redirect": Label("It answered 3xx, which is never followed", "返回重定向（3xx，不跟随）"),
    "client_error": Label("It answered 4xx", "接收端拒绝（4xx）"),
    "server_error": Label("It answered 5xx", "接收端出错（5xx）"),
    "timeout": Label("It did not answer in time", "超时"),
    "connection": Label("It could not be reached", "无法连接"),
    "refused": Label("Its address is none that is delivered to", "地址不允许"),
}
WEBHOOK_DISABLED_REASONS: Labels = {
    "requested": Label("Disabled by hand", "手动停用"),
    "failing": Label("Nothing but failures for five days", "连续五天投递失败"),
    "gone": Label("The receiver answered 410", "接收端返回 410"),
    "orphaned": Label("Whoever made it has left, or may no longer have endpoints", "创建者已离开或不再有权限"),
}
WEBHOOK_JOB_KINDS: Labels = {
    "resend": Label("One delivery again", "重发单次投递"),
    "recover": Label("What was given up, again", "重新投递失败项"),
    "replay_missing": Label("What was never sent", "补发未投递事件"),
}
WEBHOOK_JOB_STATUSES: Labels = {
    "queued": Label("Waits for a worker", "排队中"),
    "running": Label("Under way", "进行中"),
    "succeeded": Label("Done", "已完成"),
    "failed": Label("Failed", "失败"),
    "cancelled": Label("Called off", "已取消"),
}
