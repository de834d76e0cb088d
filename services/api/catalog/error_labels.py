"""What each kind of problem is called in simplified Chinese; the English title stands with its class."""

from __future__ import annotations

from services.api.errors import Problem
from shared.catalog.labels import Label, Labels

_ZH_HANS = {
    "already_exists": "已存在",
    "already_merged": "记录此前已合并到其他记录",
    "bad_request": "请求无法读取",
    "conflict": "请求与当前状态冲突",
    "cursor_expired": "游标已过保留期限",
    "export_expired": "导出文件已超过一周保存期",
    "forbidden": "无权执行此操作",
    "headers_too_large": "请求行与请求头超出限制",
    "idempotency_key_reused": "幂等键已用于其他请求内容",
    "internal_error": "服务端出错",
    "invalid": "请求内容有误",
    "invalid_cursor": "游标不属于此列表",
    "invalid_parameter": "查询参数未知或有误",
    "malformed_json": "请求内容不是有效的 JSON",
    "merge_not_undoable": "合并无法撤销",
    "merged": "记录已合并到其他记录",
    "method_not_allowed": "此路径不支持该方法",
    "milestone_criteria_unmet": "里程点的条件尚未满足",
    "milestone_irreversible": "不可逆的里程点已通过",
    "not_found": "不存在或无权查看",
    "payload_too_large": "请求内容超出限制",
    "pin_limit_reached": "置顶数量已达上限",
    "precondition_failed": "资源在读取后已被修改",
    "precondition_required": "修改时必须提供 If-Match",
    "query_too_long": "查询字符串超出限制",
    "quota_exceeded": "请求过于频繁",
    "request_in_flight": "相同请求正在处理",
    "sync_expired": "无法再给出增量，请重新完整读取",
    "transition_not_allowed": "当前不允许此流转",
    "unauthorized": "调用者身份未知",
    "login_failed": "登录未能完成",
    "not_a_member": "令牌所指的人不是此处的成员",
    "unavailable": "服务暂时不可用，请重试",
    "unsupported_media_type": "不支持的内容类型",
}


def error_labels() -> Labels:
    """A label for every kind of problem there is; one without Chinese is called by its English title there too."""
    return {code: Label(kind.title, _ZH_HANS.get(code, kind.title)) for code, kind in sorted(Problem.registry.items())}
