"""Records that may be the same: how likely that is, why, and whose values a merge takes."""

from __future__ import annotations

from shared.catalog.labels import Label, Labels

DUPLICATE_LIKELIHOODS: Labels = {
    "almost_certain": Label("Almost certain", "几乎确定"),
    "likely": Label("Likely", "很可能"),
    "possible": Label("Possible", "可能"),
}
DUPLICATE_REASONS: Labels = {
    "same_name": Label("Same name", "名称相同"),
    "same_name_without_legal_form": Label("Same name without its legal form", "去除组织形式后名称相同"),
    "same_name_without_place": Label("Same name without the place it begins with", "去除地名后名称相同"),
    "same_reading": Label("Name read alike", "名称读音相同"),
    "similar_name": Label("Similar name", "名称相近"),
    "same_name_at_customer": Label("Same name at the same customer", "同一客户下姓名相同"),
    "similar_name_at_customer": Label("Similar name at the same customer", "同一客户下姓名相近"),
    "same_phone": Label("Same phone number", "电话相同"),
    "same_email": Label("Same e-mail address", "邮箱相同"),
    "same_domain": Label("Same domain", "域名相同"),
}
MERGE_KINDS: Labels = {"customer": Label("Customers", "客户"), "contact": Label("Contacts", "联系人")}
MERGE_SIDES: Labels = {
    "into": Label("Of the record that stays", "保留的记录"),
    "from": Label("Of the merged record", "被合并的记录"),
}
