"""How records are compared for being the same, in SQL: part of migration 0009, and with it never changed again.

It is written in SQL because the keys must be kept by the database on every way of writing. What a library knows
better (whether two spellings of a phone number are one, where a registrable domain begins) is decided by the api over
the few records that these keys find.
"""

from __future__ import annotations

# Everything that is neither letter nor digit; named by code, because what a class such as \\w holds depends on the
# locale of the database.
_PUNCTUATION = (
    r"[\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u2e00-\u2e7f\u3000-\u303f\uff00-\uff0f\s]+"
)
_IN_BRACKETS = r"[(\[{【〔「《][^)\]}】〕」》]*[)\]}】〕」》]"
_HAN = r"[\u3400-\u9fff]"
_LEGAL_FORM = (
    r"( (ltd|limited|inc|incorporated|llc|llp|lp|plc|gmbh|mbh|ag|kg|kgaa|ohg|ug|ev|eg|co|corp|corporation|company|sa|"
    r"sas|sarl|srl|spa|sl|bv|nv|oy|oyj|ab|as|asa|aps|pty|pte|sdn|bhd|kk|kft|sro|doo|oo|zoo|ltda|group|holding|"
    r"holdings|und|and))+$"
)
_LEGAL_FORM_ZH = (
    "(股份有限公司|股份有限|有限责任公司|有限責任公司|有限公司|股份公司|集团公司|集團公司|总公司|總公司|分公司|公司|集团|"
    "集團|有限合伙|有限合夥|合伙企业|株式会社|有限会社)+$"
)
_LEADING_FORM = "^(株式会社|有限会社)"
_PROVINCES = (
    "北京|上海|天津|重庆|重慶|河北|山西|辽宁|遼寧|吉林|黑龙江|黑龍江|江苏|江蘇|浙江|安徽|福建|江西|山东|山東|河南|湖北|湖南|"
    "广东|廣東|海南|四川|贵州|貴州|云南|雲南|陕西|陝西|甘肃|甘肅|青海|台湾|臺灣|台灣|内蒙古|广西|廣西|西藏|宁夏|新疆|香港|澳门|"
    "澳門"
)
_CITIES = (
    "广州|廣州|深圳|杭州|南京|苏州|蘇州|成都|武汉|武漢|西安|郑州|鄭州|长沙|長沙|青岛|青島|宁波|寧波|无锡|無錫|佛山|东莞|東莞|"
    "合肥|济南|濟南|福州|厦门|廈門|大连|大連|沈阳|瀋陽|哈尔滨|长春|石家庄|太原|南昌|昆明|南宁|贵阳|兰州|乌鲁木齐|常州|温州|"
    "嘉兴|绍兴|台州|金华|南通|徐州|扬州|烟台|潍坊|珠海|中山|惠州|泉州|洛阳|唐山|保定|芜湖|海口|台北|臺北|高雄"
)
_PLACE = f"^(中国|中國)?(({_PROVINCES}|{_CITIES})(省|市|特别行政区|自治区)?)+"
_FREE_MAIL = (
    "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "ymail.com",
    "icloud.com", "me.com", "mac.com", "aol.com", "gmx.com", "gmx.de", "gmx.net", "web.de", "t-online.de",
    "freenet.de", "mail.com", "mail.ru", "yandex.ru", "yandex.com", "proton.me", "protonmail.com", "zoho.com",
    "qq.com", "vip.qq.com", "foxmail.com", "163.com", "vip.163.com", "126.com", "yeah.net", "sina.com", "sina.cn",
    "vip.sina.com", "sohu.com", "139.com", "189.cn", "wo.cn", "21cn.com", "tom.com", "aliyun.com", "naver.com",
    "hanmail.net", "daum.net", "orange.fr", "wanadoo.fr", "free.fr", "laposte.net", "libero.it", "btinternet.com",
    "comcast.net", "verizon.net", "att.net", "rediffmail.com", "yahoo.co.jp", "yahoo.co.uk", "hotmail.co.uk",
    "yahoo.com.cn", "yahoo.com.hk", "yahoo.com.tw", "outlook.jp", "docomo.ne.jp",
)  # fmt: skip
_PUBLIC_SECOND_LEVEL = r"^(com|co|net|org|gov|edu|ac|or|ne|go|gob|gouv|mil|info|biz|id|ltd|plc|me|web|nom)\.[a-z]{2}$"

# {as written, without brackets and legal form, the same without the place it begins with and without spaces}: all in
# one width, lower case and without accents or punctuation. What would leave less than two signs is left alone.
MATCH_NAMES = rf"""
CREATE FUNCTION sales.match_names(name text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  plain text := name;
  core text;
  stem text;
BEGIN
  IF name ~ '[^ -~]' THEN
    plain := normalize(name, NFKC);
    IF plain ~ '[\u00c0-\u024f\u1e00-\u1eff]' THEN
      plain := normalize(regexp_replace(normalize(plain, NFKD), '[\u0300-\u036f]', '', 'g'), NFC);
    END IF;
    plain := translate(plain,
      'АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЁΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ',
      'абвгдежзийклмнопрстуфхцчшщъыьэюяёαβγδεζηθικλμνξοπρστυφχψω');
  END IF;
  plain := lower(plain);
  core := trim(regexp_replace(translate(plain, '.''’`´', ''), '{_IN_BRACKETS}', ' ', 'g'));
  core := trim(regexp_replace(core, '{_PUNCTUATION}', ' ', 'g'));
  plain := trim(regexp_replace(translate(plain, '.''’`´', ''), '{_PUNCTUATION}', ' ', 'g'));
  IF length(core) < 2 THEN
    core := plain;
  END IF;
  stem := regexp_replace(core, '{_LEGAL_FORM}', '');
  IF stem ~ '{_HAN}' THEN
    stem := replace(stem, ' ', '');
    stem := regexp_replace(regexp_replace(stem, '{_LEGAL_FORM_ZH}', ''), '{_LEADING_FORM}', '');
  END IF;
  IF length(stem) >= 2 THEN
    core := stem;
  END IF;
  stem := replace(core, ' ', '');
  IF stem ~ '^{_HAN}' AND length(regexp_replace(stem, '{_PLACE}', '')) >= 3 THEN
    stem := regexp_replace(stem, '{_PLACE}', '');
  END IF;
  RETURN ARRAY[plain, core, stem];
END $$
"""

# The last seven digits of each number: what stays the same however a country, an area or a trunk is written.
PHONE_KEYS = r"""
CREATE FUNCTION sales.match_phones(phone text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT coalesce(array_agg(right(digits, 7)), '{}') FROM (
    SELECT regexp_replace(regexp_replace(part, '(ext|x|转|轉|分机|分機|#).*$', ''), '[^0-9]', '', 'g') AS digits
    FROM regexp_split_to_table(lower(normalize(phone, NFKC)), '[/,;、|]|或| or ') AS p(part) LIMIT 5
  ) numbers WHERE length(digits) >= 5
$$
"""

# The host of an address, and each domain it lies in that somebody could own.
DOMAIN_KEYS = rf"""
CREATE FUNCTION sales.match_domains(address text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  host text := regexp_replace(lower(normalize(trim(address), NFKC)), '^[a-z][a-z0-9+.-]*://', '');
  parts text[];
  found text[] := '{{}}';
  domain text;
BEGIN
  host := regexp_replace(host, '[/?#].*$', '');
  host := regexp_replace(regexp_replace(host, '^.*@', ''), ':[0-9]*$', '');
  parts := string_to_array(trim(TRAILING '.' FROM host), '.');
  FOR kept IN 2..least(cardinality(parts), 4) LOOP
    domain := array_to_string(parts[cardinality(parts) - kept + 1:], '.');
    IF domain !~ '\s' AND domain !~ '^\.|\.\.|^[0-9.]+$' AND domain !~ '{_PUBLIC_SECOND_LEVEL}' THEN
      EXIT WHEN domain = ANY (ARRAY[{", ".join(f"'{each}'" for each in _FREE_MAIL)}]);
      CONTINUE WHEN kept > 2 AND domain LIKE 'www.%';
      found := found || domain;
    END IF;
  END LOOP;
  RETURN found;
END $$
"""

# What a record is found by. n: name without legal form; h: how the name begins; y: how it is read aloud (pinyin, by
# which traditional and simplified characters are one, and so are characters mixed up in typing); p: phone; e: e-mail;
# d: domain. A person's name alone says little: it counts within the customer (c:).
DUPLICATE_KEYS = rf"""
CREATE FUNCTION sales.duplicate_keys_of(
  kind text, name text, sort_key text, customer_id uuid, phone text, email text, website text
) RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  names text[] := sales.match_names(name);
  keys text[];
  whole text;
  each text;
BEGIN
  IF kind = 'customer' THEN
    whole := replace(names[2], ' ', '');
    keys := ARRAY['n:' || whole, 'h:' || left(names[3], CASE WHEN names[3] ~ '^{_HAN}' THEN 2 ELSE 4 END)];
    IF whole ~ '{_HAN}' AND sort_key IS NOT NULL THEN
      keys := keys || ('y:' || sales.match_reading(sort_key));
    END IF;
    IF website IS NOT NULL OR email IS NOT NULL THEN
      FOREACH each IN ARRAY coalesce(sales.match_domains(website), '{{}}')
          || coalesce(sales.match_domains(split_part(email, '@', 2)), '{{}}') LOOP
        keys := keys || ('d:' || each);
      END LOOP;
    END IF;
  ELSE
    whole := (SELECT string_agg(word, '' ORDER BY word) FROM unnest(string_to_array(names[1], ' ')) AS w(word));
    keys := ARRAY['n:' || whole];
    IF customer_id IS NOT NULL THEN
      keys := keys || ('c:' || customer_id || ':' || whole);
    END IF;
  END IF;
  IF phone IS NOT NULL THEN
    FOREACH each IN ARRAY sales.match_phones(phone) LOOP
      keys := keys || ('p:' || each);
    END LOOP;
  END IF;
  IF email IS NOT NULL THEN
    keys := keys || ('e:' || lower(normalize(trim(email), NFKC)));
  END IF;
  RETURN ARRAY(SELECT DISTINCT left(k, 400) FROM unnest(keys) AS u(k) WHERE length(k) > 2);
END $$
"""

# The reading of a name without its legal form: the sort key holds it in pinyin.
READING = r"""
CREATE FUNCTION sales.match_reading(sort_key text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT regexp_replace(regexp_replace(regexp_replace(sort_key, '[(（【].*?[)）】]', ' ', 'g'),
    '[^a-z0-9 ]', '', 'g'), '( *(gu fen|you xian|ze ren|gong si|ji tuan))+ *$| ', '', 'g')
$$
"""

FUNCTIONS = (MATCH_NAMES, PHONE_KEYS, DOMAIN_KEYS, READING, DUPLICATE_KEYS)
SIGNATURES = (
    "sales.duplicate_keys_of(text, text, text, uuid, text, text, text)",
    "sales.match_reading(text)",
    "sales.match_domains(text)",
    "sales.match_phones(text)",
    "sales.match_names(text)",
)
