-- A small database at revision 0008_worker_figures, the last one before the migrations became one.
-- The migrations and tables of the last commit that had that revision made it, and Python's
-- `sqlite3.Connection.iterdump` wrote it out; only blanks at the ends of lines are removed.
BEGIN TRANSACTION;
CREATE TABLE acl (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	tokens JSON NOT NULL,
	CONSTRAINT pk_acl PRIMARY KEY (id),
	CONSTRAINT fk_acl_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_acl_tenant_id_digest UNIQUE (tenant_id, digest)
);
INSERT INTO "acl" VALUES('019a0000000000000000000000000008','019a0000000000000000000000000001','e9da86d351cf9a7642d8c50195c3f466220911a15c177809bd1161a51e8c5f24','["tenant"]');
CREATE TABLE acl_token (
	acl_id VARCHAR(32) NOT NULL,
	token VARCHAR(100) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	CONSTRAINT pk_acl_token PRIMARY KEY (acl_id, token),
	CONSTRAINT fk_acl_token_acl_id_acl FOREIGN KEY(acl_id) REFERENCES acl (id) ON DELETE CASCADE,
	CONSTRAINT fk_acl_token_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
INSERT INTO "acl_token" VALUES('019a0000000000000000000000000008','tenant','019a0000000000000000000000000001');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0008_worker_figures');
CREATE TABLE api_token (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	user_id VARCHAR(32) NOT NULL,
	name VARCHAR(200) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	prefix VARCHAR(16) NOT NULL,
	scopes JSON NOT NULL,
	expires_at DATETIME,
	revoked_at DATETIME,
	last_used_at DATETIME,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_api_token PRIMARY KEY (id),
	CONSTRAINT fk_api_token_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT fk_api_token_user_id_user FOREIGN KEY(user_id) REFERENCES user (id) ON DELETE CASCADE,
	CONSTRAINT uq_api_token_digest UNIQUE (digest)
);
INSERT INTO "api_token" VALUES('019a0000000000000000000000000004','019a0000000000000000000000000001','019a0000000000000000000000000002','ci','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','sj_example','["search"]',NULL,NULL,NULL,'2026-11-02 09:30:00.250000');
CREATE TABLE audit_event (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	actor VARCHAR(200) NOT NULL,
	action VARCHAR(60) NOT NULL,
	target VARCHAR(200) NOT NULL,
	detail JSON NOT NULL,
	at DATETIME NOT NULL,
	CONSTRAINT pk_audit_event PRIMARY KEY (id),
	CONSTRAINT fk_audit_event_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE channel (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	workspace_id VARCHAR(32) NOT NULL,
	external_id VARCHAR(100) NOT NULL,
	name VARCHAR(200) NOT NULL,
	is_public BOOLEAN NOT NULL,
	members_synced_at DATETIME,
	settings JSON NOT NULL,
	created_at DATETIME NOT NULL, kind VARCHAR(20) DEFAULT 'text' NOT NULL,
	CONSTRAINT pk_channel PRIMARY KEY (id),
	CONSTRAINT fk_channel_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT fk_channel_workspace_id_workspace FOREIGN KEY(workspace_id) REFERENCES workspace (id) ON DELETE CASCADE,
	CONSTRAINT uq_channel_workspace_id_external_id UNIQUE (workspace_id, external_id)
);
INSERT INTO "channel" VALUES('019a0000000000000000000000000007','019a0000000000000000000000000001','019a0000000000000000000000000005','C1','people',1,'2026-11-02 09:30:00.250000','{}','2026-11-02 09:30:00.250000','forum');
CREATE TABLE channel_member (
	channel_id VARCHAR(32) NOT NULL,
	identity_id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	CONSTRAINT pk_channel_member PRIMARY KEY (channel_id, identity_id),
	CONSTRAINT fk_channel_member_channel_id_channel FOREIGN KEY(channel_id) REFERENCES channel (id) ON DELETE CASCADE,
	CONSTRAINT fk_channel_member_identity_id_identity FOREIGN KEY(identity_id) REFERENCES identity (id) ON DELETE CASCADE,
	CONSTRAINT fk_channel_member_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
INSERT INTO "channel_member" VALUES('019a0000000000000000000000000007','019a0000000000000000000000000006','019a0000000000000000000000000001');
CREATE TABLE chunk (
	revision_id VARCHAR(32) NOT NULL,
	ordinal INTEGER NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	part INTEGER NOT NULL,
	start INTEGER NOT NULL,
	"end" INTEGER NOT NULL,
	page INTEGER,
	text TEXT NOT NULL,
	context TEXT NOT NULL,
	tokens INTEGER NOT NULL,
	language VARCHAR(10) NOT NULL,
	meta JSON NOT NULL,
	CONSTRAINT pk_chunk PRIMARY KEY (revision_id, ordinal),
	CONSTRAINT fk_chunk_revision_id_revision FOREIGN KEY(revision_id) REFERENCES revision (id) ON DELETE CASCADE
);
INSERT INTO "chunk" VALUES('019a000000000000000000000000000d',0,'019a0000000000000000000000000001',0,0,44,NULL,'Parents get 16 weeks of leave – fully paid.
','Leave',11,'en','{}');
CREATE TABLE component_output (
	tenant_id VARCHAR(32) NOT NULL,
	source_hash VARCHAR(64) NOT NULL,
	"key" BLOB NOT NULL,
	component VARCHAR(64) NOT NULL,
	body BLOB NOT NULL,
	CONSTRAINT pk_component_output PRIMARY KEY (tenant_id, source_hash, "key"),
	CONSTRAINT fk_component_output_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE conversation (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	user_id VARCHAR(32),
	door VARCHAR(20) NOT NULL,
	external_id VARCHAR(200) NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_conversation PRIMARY KEY (id),
	CONSTRAINT fk_conversation_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT fk_conversation_user_id_user FOREIGN KEY(user_id) REFERENCES user (id) ON DELETE SET NULL
);
INSERT INTO "conversation" VALUES('019a0000000000000000000000000010','019a0000000000000000000000000001','019a0000000000000000000000000002','slack','C1','2026-11-02 09:30:00.250000');
CREATE TABLE document (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	kb_id VARCHAR(32) NOT NULL,
	source_id VARCHAR(32) NOT NULL,
	external_id VARCHAR(2000) NOT NULL,
	title VARCHAR(500) NOT NULL,
	url VARCHAR(2000) NOT NULL,
	acl_id VARCHAR(32) NOT NULL,
	acl_all JSON NOT NULL,
	state VARCHAR(20) NOT NULL,
	vectors VARCHAR(20) NOT NULL,
	progress DOUBLE NOT NULL,
	message TEXT NOT NULL,
	error TEXT NOT NULL,
	error_code VARCHAR(40) NOT NULL,
	chunk_count INTEGER NOT NULL,
	token_count INTEGER NOT NULL,
	size_bytes INTEGER NOT NULL,
	language VARCHAR(10) NOT NULL,
	hidden BOOLEAN NOT NULL,
	details JSON NOT NULL,
	derived_from JSON NOT NULL,
	source_updated_at DATETIME,
	created_at DATETIME NOT NULL,
	updated_at DATETIME NOT NULL,
	deleted_at DATETIME,
	CONSTRAINT pk_document PRIMARY KEY (id),
	CONSTRAINT fk_document_acl_id_acl FOREIGN KEY(acl_id) REFERENCES acl (id),
	CONSTRAINT fk_document_kb_id_knowledge_base FOREIGN KEY(kb_id) REFERENCES knowledge_base (id) ON DELETE CASCADE,
	CONSTRAINT fk_document_source_id_source FOREIGN KEY(source_id) REFERENCES source (id) ON DELETE CASCADE,
	CONSTRAINT fk_document_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_document_kb_id_source_id_external_id UNIQUE (kb_id, source_id, external_id)
);
INSERT INTO "document" VALUES('019a000000000000000000000000000c','019a0000000000000000000000000001','019a0000000000000000000000000009','019a000000000000000000000000000a','leave.md','Leave','','019a0000000000000000000000000008','[]','ready','complete',1.0,'','','',1,11,46,'en',0,'{}','[]',NULL,'2026-11-02 09:30:00.250000','2026-11-02 09:30:00.250000',NULL);
CREATE TABLE embedding (
	tenant_id VARCHAR(32) NOT NULL,
	space VARCHAR(40) NOT NULL,
	text_hash BLOB NOT NULL,
	vector BLOB NOT NULL,
	CONSTRAINT pk_embedding PRIMARY KEY (tenant_id, space, text_hash)
);
INSERT INTO "embedding" VALUES('019a0000000000000000000000000001','hashing-8',X'6B66C6ACDEDAEA4FE7F41403FEC0172E',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F');
CREATE TABLE ephemeral (
	"key" VARCHAR(300) NOT NULL,
	value BLOB NOT NULL,
	until DOUBLE NOT NULL,
	CONSTRAINT pk_ephemeral PRIMARY KEY ("key")
);
CREATE TABLE event (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	kind VARCHAR(60) NOT NULL,
	payload JSON NOT NULL,
	at DATETIME NOT NULL,
	CONSTRAINT pk_event PRIMARY KEY (id),
	CONSTRAINT fk_event_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE feedback (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	turn_id VARCHAR(32) NOT NULL,
	rater VARCHAR(40) NOT NULL,
	rating INTEGER NOT NULL,
	reason VARCHAR(40) NOT NULL,
	text TEXT NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_feedback PRIMARY KEY (id),
	CONSTRAINT fk_feedback_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT fk_feedback_turn_id_turn FOREIGN KEY(turn_id) REFERENCES turn (id) ON DELETE CASCADE,
	CONSTRAINT uq_feedback_turn_id_rater UNIQUE (turn_id, rater)
);
INSERT INTO "feedback" VALUES('019a0000000000000000000000000014','019a0000000000000000000000000001','019a0000000000000000000000000011','019a0000000000000000000000000006',1,'','','2026-11-02 09:30:00.250000');
CREATE TABLE flow (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	kind VARCHAR(20) NOT NULL,
	dsl TEXT NOT NULL,
	created_at DATETIME NOT NULL,
	updated_at DATETIME NOT NULL,
	CONSTRAINT pk_flow PRIMARY KEY (id),
	CONSTRAINT fk_flow_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_flow_tenant_id_name UNIQUE (tenant_id, name)
);
CREATE TABLE identity (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	user_id VARCHAR(32),
	workspace_id VARCHAR(32),
	provider VARCHAR(40) NOT NULL,
	subject VARCHAR(200) NOT NULL,
	name VARCHAR(200) NOT NULL,
	is_full_member BOOLEAN NOT NULL,
	created_at DATETIME NOT NULL, platform_role VARCHAR(20) DEFAULT '' NOT NULL, seen_at DATETIME,
	CONSTRAINT pk_identity PRIMARY KEY (id),
	CONSTRAINT fk_identity_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT fk_identity_user_id_user FOREIGN KEY(user_id) REFERENCES user (id) ON DELETE SET NULL,
	CONSTRAINT fk_identity_workspace_id_workspace FOREIGN KEY(workspace_id) REFERENCES workspace (id) ON DELETE CASCADE,
	CONSTRAINT uq_identity_tenant_id_provider_subject UNIQUE (tenant_id, provider, subject)
);
INSERT INTO "identity" VALUES('019a0000000000000000000000000006','019a0000000000000000000000000001','019a0000000000000000000000000002','019a0000000000000000000000000005','slack','U1','ada',1,'2026-11-02 09:30:00.250000','admin','2026-11-02 09:30:00.250000');
CREATE TABLE index_placement (
	tenant_id VARCHAR(32) NOT NULL,
	space VARCHAR(40) NOT NULL,
	dimension INTEGER NOT NULL,
	cells VARCHAR(10) NOT NULL,
	kind VARCHAR(10) NOT NULL,
	state VARCHAR(10) NOT NULL,
	languages JSON NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_index_placement PRIMARY KEY (tenant_id, space),
	CONSTRAINT fk_index_placement_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id)
);
CREATE TABLE installation (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	platform VARCHAR(20) NOT NULL,
	client_id VARCHAR(100) NOT NULL,
	enterprise_id VARCHAR(40) NOT NULL,
	team_id VARCHAR(40) NOT NULL,
	name VARCHAR(200) NOT NULL,
	url VARCHAR(200) NOT NULL,
	secret TEXT NOT NULL,
	scopes JSON NOT NULL,
	app_id VARCHAR(40) NOT NULL,
	bot_id VARCHAR(40) NOT NULL,
	bot_user_id VARCHAR(40) NOT NULL,
	installed_by VARCHAR(40) NOT NULL,
	reading VARCHAR(10) NOT NULL,
	state VARCHAR(20) NOT NULL,
	purge_at DATETIME,
	created_at DATETIME NOT NULL,
	updated_at DATETIME NOT NULL,
	CONSTRAINT pk_installation PRIMARY KEY (id),
	CONSTRAINT fk_installation_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_installation_platform_client_id_enterprise_id_team_id UNIQUE (platform, client_id, enterprise_id, team_id)
);
CREATE TABLE job (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	kind VARCHAR(40) NOT NULL,
	payload JSON NOT NULL,
	lane VARCHAR(20) NOT NULL,
	turn BIGINT NOT NULL,
	state VARCHAR(20) NOT NULL,
	document_id VARCHAR(32),
	attempts INTEGER NOT NULL,
	lost INTEGER NOT NULL,
	max_attempts INTEGER NOT NULL,
	run_at DATETIME NOT NULL,
	lease_owner VARCHAR(100) NOT NULL,
	leased_until DATETIME,
	cancel_requested BOOLEAN NOT NULL,
	idempotency_key VARCHAR(200),
	error TEXT NOT NULL,
	correlation_id VARCHAR(64) NOT NULL,
	created_at DATETIME NOT NULL,
	updated_at DATETIME NOT NULL,
	CONSTRAINT pk_job PRIMARY KEY (id),
	CONSTRAINT fk_job_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_job_tenant_id_idempotency_key UNIQUE (tenant_id, idempotency_key)
);
INSERT INTO "job" VALUES('019a0000000000000000000000000012','019a0000000000000000000000000001','answer','{"question": "?"}','live',7,'done',NULL,1,0,5,'2026-11-02 09:30:00.250000','',NULL,0,NULL,'','','2026-11-02 09:30:00.250000','2026-11-02 09:30:00.250000');
CREATE TABLE kb_grant (
	kb_id VARCHAR(32) NOT NULL,
	token VARCHAR(100) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	CONSTRAINT pk_kb_grant PRIMARY KEY (kb_id, token),
	CONSTRAINT fk_kb_grant_kb_id_knowledge_base FOREIGN KEY(kb_id) REFERENCES knowledge_base (id) ON DELETE CASCADE,
	CONSTRAINT fk_kb_grant_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
INSERT INTO "kb_grant" VALUES('019a0000000000000000000000000009','g:019a0000000000000000000000000003','019a0000000000000000000000000001');
CREATE TABLE knowledge_base (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	name VARCHAR(100) NOT NULL,
	description TEXT NOT NULL,
	space VARCHAR(40) NOT NULL,
	dimension INTEGER NOT NULL,
	search JSON NOT NULL,
	chunking JSON NOT NULL,
	pipeline VARCHAR(100) NOT NULL,
	document_count INTEGER NOT NULL,
	chunk_count INTEGER NOT NULL,
	token_count INTEGER NOT NULL,
	created_at DATETIME NOT NULL,
	updated_at DATETIME NOT NULL,
	deleted_at DATETIME, next_space VARCHAR(40), next_dimension INTEGER,
	CONSTRAINT pk_knowledge_base PRIMARY KEY (id),
	CONSTRAINT fk_knowledge_base_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
INSERT INTO "knowledge_base" VALUES('019a0000000000000000000000000009','019a0000000000000000000000000001','handbook','','hashing-8',8,'{}','{}','general',1,1,11,'2026-11-02 09:30:00.250000','2026-11-02 09:30:00.250000',NULL,'minilm-384',384);
CREATE TABLE live (
	branch VARCHAR(100) NOT NULL,
	document_id VARCHAR(32) NOT NULL,
	revision_id VARCHAR(32) NOT NULL,
	kb_id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	CONSTRAINT pk_live PRIMARY KEY (branch, document_id),
	CONSTRAINT fk_live_document_id_document FOREIGN KEY(document_id) REFERENCES document (id) ON DELETE CASCADE,
	CONSTRAINT fk_live_kb_id_knowledge_base FOREIGN KEY(kb_id) REFERENCES knowledge_base (id) ON DELETE CASCADE,
	CONSTRAINT fk_live_revision_id_revision FOREIGN KEY(revision_id) REFERENCES revision (id),
	CONSTRAINT fk_live_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
INSERT INTO "live" VALUES('main','019a000000000000000000000000000c','019a000000000000000000000000000d','019a0000000000000000000000000009','019a0000000000000000000000000001');
CREATE TABLE membership (
	tenant_id VARCHAR(32) NOT NULL,
	user_id VARCHAR(32) NOT NULL,
	role VARCHAR(20) NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_membership PRIMARY KEY (tenant_id, user_id),
	CONSTRAINT fk_membership_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT fk_membership_user_id_user FOREIGN KEY(user_id) REFERENCES user (id) ON DELETE CASCADE
);
INSERT INTO "membership" VALUES('019a0000000000000000000000000001','019a0000000000000000000000000002','owner','2026-11-02 09:30:00.250000');
CREATE TABLE message (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	channel_id VARCHAR(32) NOT NULL,
	external_id VARCHAR(40) NOT NULL,
	position BIGINT NOT NULL,
	thread VARCHAR(40) NOT NULL,
	reply_to VARCHAR(40) NOT NULL,
	kind VARCHAR(10) NOT NULL,
	author VARCHAR(100) NOT NULL,
	author_name VARCHAR(200) NOT NULL,
	text TEXT NOT NULL,
	posted_at DATETIME NOT NULL,
	edited_at DATETIME,
	deleted_at DATETIME,
	reactions JSON NOT NULL,
	files JSON NOT NULL,
	raw JSON NOT NULL,
	change_id VARCHAR(32) NOT NULL,
	dirty BOOLEAN NOT NULL,
	document_id VARCHAR(32),
	seen_at DATETIME NOT NULL,
	CONSTRAINT pk_message PRIMARY KEY (id),
	CONSTRAINT fk_message_channel_id_channel FOREIGN KEY(channel_id) REFERENCES channel (id) ON DELETE CASCADE,
	CONSTRAINT fk_message_document_id_document FOREIGN KEY(document_id) REFERENCES document (id) ON DELETE SET NULL,
	CONSTRAINT fk_message_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_message_channel_id_external_id UNIQUE (channel_id, external_id)
);
INSERT INTO "message" VALUES('019a000000000000000000000000000e','019a0000000000000000000000000001','019a0000000000000000000000000007','1762075800.000100',1762075800000100,'','','message','U1','','How long is parental leave?','2026-11-02 09:30:00.250000',NULL,NULL,'{}','[]','{}','019a000000000000000000000000000f',0,NULL,'2026-11-02 09:30:00.250000');
CREATE TABLE message_span (
	revision_id VARCHAR(32) NOT NULL,
	start INTEGER NOT NULL,
	"end" INTEGER NOT NULL,
	message_id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	CONSTRAINT pk_message_span PRIMARY KEY (revision_id, start),
	CONSTRAINT fk_message_span_message_id_message FOREIGN KEY(message_id) REFERENCES message (id) ON DELETE CASCADE,
	CONSTRAINT fk_message_span_revision_id_revision FOREIGN KEY(revision_id) REFERENCES revision (id) ON DELETE CASCADE,
	CONSTRAINT fk_message_span_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE post (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	job_id VARCHAR(32) NOT NULL,
	workspace_id VARCHAR(32) NOT NULL,
	channel_id VARCHAR(32),
	identity_id VARCHAR(32) NOT NULL,
	surface VARCHAR(20) NOT NULL,
	channel VARCHAR(100) NOT NULL,
	thread VARCHAR(100) NOT NULL,
	question_id VARCHAR(100) NOT NULL,
	message_id VARCHAR(100) NOT NULL,
	question TEXT NOT NULL,
	addressed BOOLEAN NOT NULL,
	state VARCHAR(20) NOT NULL,
	turn_id VARCHAR(32),
	escalated_at DATETIME,
	resolved_at DATETIME,
	created_at DATETIME NOT NULL,
	updated_at DATETIME NOT NULL,
	CONSTRAINT pk_post PRIMARY KEY (id),
	CONSTRAINT fk_post_channel_id_channel FOREIGN KEY(channel_id) REFERENCES channel (id) ON DELETE CASCADE,
	CONSTRAINT fk_post_identity_id_identity FOREIGN KEY(identity_id) REFERENCES identity (id) ON DELETE CASCADE,
	CONSTRAINT fk_post_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT fk_post_turn_id_turn FOREIGN KEY(turn_id) REFERENCES turn (id) ON DELETE SET NULL,
	CONSTRAINT fk_post_workspace_id_workspace FOREIGN KEY(workspace_id) REFERENCES workspace (id) ON DELETE CASCADE,
	CONSTRAINT uq_post_job_id UNIQUE (job_id)
);
INSERT INTO "post" VALUES('019a0000000000000000000000000013','019a0000000000000000000000000001','019a0000000000000000000000000012','019a0000000000000000000000000005','019a0000000000000000000000000007','019a0000000000000000000000000006','channel','C1','','','','How long is parental leave?',1,'done','019a0000000000000000000000000011',NULL,NULL,'2026-11-02 09:30:00.250000','2026-11-02 09:30:00.250000');
CREATE TABLE query_log (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	user_id VARCHAR(32),
	kb_ids JSON NOT NULL,
	mode VARCHAR(20) NOT NULL,
	text TEXT NOT NULL,
	hits INTEGER NOT NULL,
	confidence DOUBLE NOT NULL,
	took_ms DOUBLE NOT NULL,
	error_code VARCHAR(40) NOT NULL,
	at DATETIME NOT NULL,
	CONSTRAINT pk_query_log PRIMARY KEY (id),
	CONSTRAINT fk_query_log_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE revision (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	document_id VARCHAR(32) NOT NULL,
	number INTEGER NOT NULL,
	blob_hash VARCHAR(64) NOT NULL,
	filename VARCHAR(500) NOT NULL,
	mime VARCHAR(100) NOT NULL,
	size_bytes INTEGER NOT NULL,
	language VARCHAR(10) NOT NULL,
	chunk_count INTEGER NOT NULL,
	token_count INTEGER NOT NULL,
	space VARCHAR(40) NOT NULL,
	vectors VARCHAR(20) NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_revision PRIMARY KEY (id),
	CONSTRAINT fk_revision_document_id_document FOREIGN KEY(document_id) REFERENCES document (id) ON DELETE CASCADE,
	CONSTRAINT fk_revision_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_revision_document_id_number UNIQUE (document_id, number)
);
INSERT INTO "revision" VALUES('019a000000000000000000000000000d','019a0000000000000000000000000001','019a000000000000000000000000000c',1,'735305443ed685bb4eaf8f578f707a5c28acace227bb06d42376edb6a6aeda2b','leave.md','text/markdown',46,'en',1,11,'hashing-8','complete','2026-11-02 09:30:00.250000');
CREATE TABLE revision_text (
	revision_id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	body BLOB NOT NULL,
	CONSTRAINT pk_revision_text PRIMARY KEY (revision_id),
	CONSTRAINT fk_revision_text_revision_id_revision FOREIGN KEY(revision_id) REFERENCES revision (id) ON DELETE CASCADE,
	CONSTRAINT fk_revision_text_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
INSERT INTO "revision_text" VALUES('019a000000000000000000000000000d','019a0000000000000000000000000001',X'789C0B482C4ACD2B2956484F2D51303453284F4DCD2E56C84F53C8494D2C4B5578D4305921AD3427A752A1203133458F0B008469107D');
CREATE TABLE run (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	job_id VARCHAR(32),
	flow_id VARCHAR(100) NOT NULL,
	document_id VARCHAR(32),
	state VARCHAR(20) NOT NULL,
	progress DOUBLE NOT NULL,
	message TEXT NOT NULL,
	error TEXT NOT NULL,
	dsl TEXT NOT NULL,
	started_at DATETIME NOT NULL,
	ended_at DATETIME,
	CONSTRAINT pk_run PRIMARY KEY (id),
	CONSTRAINT fk_run_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE run_event (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	run_id VARCHAR(32) NOT NULL,
	component VARCHAR(100) NOT NULL,
	progress DOUBLE NOT NULL,
	message TEXT NOT NULL,
	at DATETIME NOT NULL,
	CONSTRAINT pk_run_event PRIMARY KEY (id),
	CONSTRAINT fk_run_event_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE,
	CONSTRAINT fk_run_event_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE run_node (
	run_id VARCHAR(32) NOT NULL,
	node_id VARCHAR(100) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	state VARCHAR(20) NOT NULL,
	output JSON NOT NULL,
	elapsed_s FLOAT NOT NULL,
	error TEXT NOT NULL,
	started_at DATETIME NOT NULL,
	CONSTRAINT pk_run_node PRIMARY KEY (run_id, node_id),
	CONSTRAINT fk_run_node_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE,
	CONSTRAINT fk_run_node_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
CREATE TABLE setting (
	"key" VARCHAR(100) NOT NULL,
	value JSON NOT NULL,
	CONSTRAINT pk_setting PRIMARY KEY ("key")
);
INSERT INTO "setting" VALUES('sample','{"seeded": true}');
CREATE TABLE "source" (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	kb_id VARCHAR(32) NOT NULL,
	kind VARCHAR(40) NOT NULL,
	name VARCHAR(200) NOT NULL,
	settings JSON NOT NULL,
	cursor JSON NOT NULL,
	state VARCHAR(20) NOT NULL,
	error TEXT NOT NULL,
	created_at DATETIME NOT NULL,
	channel_id VARCHAR(32),
	derive_due_at DATETIME,
	CONSTRAINT pk_source PRIMARY KEY (id),
	CONSTRAINT fk_source_kb_id_knowledge_base FOREIGN KEY(kb_id) REFERENCES knowledge_base (id) ON DELETE CASCADE,
	CONSTRAINT fk_source_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_source_channel_id UNIQUE (channel_id),
	CONSTRAINT fk_source_channel_id_channel FOREIGN KEY(channel_id) REFERENCES channel (id) ON DELETE CASCADE
);
INSERT INTO "source" VALUES('019a000000000000000000000000000a','019a0000000000000000000000000001','019a0000000000000000000000000009','upload','upload','{}','{}','idle','','2026-11-02 09:30:00.250000',NULL,NULL);
INSERT INTO "source" VALUES('019a000000000000000000000000000b','019a0000000000000000000000000001','019a0000000000000000000000000009','slack','#people','{}','{}','idle','','2026-11-02 09:30:00.250000','019a0000000000000000000000000007','2026-11-02 09:30:00.250000');
CREATE TABLE tenant (
	id VARCHAR(32) NOT NULL,
	"key" VARCHAR(40) NOT NULL,
	name VARCHAR(200) NOT NULL,
	settings JSON NOT NULL,
	created_at DATETIME NOT NULL,
	deleted_at DATETIME,
	CONSTRAINT pk_tenant PRIMARY KEY (id),
	CONSTRAINT uq_tenant_key UNIQUE ("key")
);
INSERT INTO "tenant" VALUES('019a0000000000000000000000000001','acme','Acme Café','{"answers": {"language": "de"}}','2026-11-02 09:30:00.250000',NULL);
CREATE TABLE thread (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	channel_id VARCHAR(32) NOT NULL,
	external_id VARCHAR(40) NOT NULL,
	title VARCHAR(500) NOT NULL,
	details JSON NOT NULL,
	cursor JSON NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_thread PRIMARY KEY (id),
	CONSTRAINT fk_thread_channel_id_channel FOREIGN KEY(channel_id) REFERENCES channel (id) ON DELETE CASCADE,
	CONSTRAINT fk_thread_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_thread_channel_id_external_id UNIQUE (channel_id, external_id)
);
CREATE TABLE tool_call (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	user_id VARCHAR(32),
	api_token_id VARCHAR(32),
	door VARCHAR(20) NOT NULL,
	tool VARCHAR(60) NOT NULL,
	kb_ids JSON NOT NULL,
	results INTEGER NOT NULL,
	code VARCHAR(40) NOT NULL,
	took_ms DOUBLE NOT NULL,
	text TEXT NOT NULL,
	at DATETIME NOT NULL,
	CONSTRAINT pk_tool_call PRIMARY KEY (id),
	CONSTRAINT fk_tool_call_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
INSERT INTO "tool_call" VALUES('019a0000000000000000000000000015','019a0000000000000000000000000001','019a0000000000000000000000000002',NULL,'http','search','["019a0000000000000000000000000009"]',1,'',3.5,'','2026-11-02 09:30:00.250000');
CREATE TABLE turn (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	conversation_id VARCHAR(32) NOT NULL,
	question TEXT NOT NULL,
	answer TEXT NOT NULL,
	grounded BOOLEAN NOT NULL,
	confidence DOUBLE NOT NULL,
	audience VARCHAR(100) NOT NULL,
	sources JSON NOT NULL,
	citations JSON NOT NULL,
	model VARCHAR(100) NOT NULL,
	input_tokens INTEGER NOT NULL,
	output_tokens INTEGER NOT NULL,
	took_ms DOUBLE NOT NULL,
	feedback INTEGER,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_turn PRIMARY KEY (id),
	CONSTRAINT fk_turn_conversation_id_conversation FOREIGN KEY(conversation_id) REFERENCES conversation (id) ON DELETE CASCADE,
	CONSTRAINT fk_turn_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE
);
INSERT INTO "turn" VALUES('019a0000000000000000000000000011','019a0000000000000000000000000001','019a0000000000000000000000000010','How long is parental leave?','16 weeks.',1,0.75,'w:019a0000000000000000000000000005','["019a000000000000000000000000000d:0"]','[{"revision": "019a000000000000000000000000000d", "start": 0, "end": 29, "quote": "Parents get 16 weeks of leave"}]','',0,0,12.5,NULL,'2026-11-02 09:30:00.250000');
CREATE TABLE user (
	id VARCHAR(32) NOT NULL,
	email VARCHAR(320),
	name VARCHAR(200) NOT NULL,
	password_hash VARCHAR(200),
	active BOOLEAN NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_user PRIMARY KEY (id),
	CONSTRAINT uq_user_email UNIQUE (email)
);
INSERT INTO "user" VALUES('019a0000000000000000000000000002','ada@example.com','Ada',NULL,1,'2026-11-02 09:30:00.250000');
CREATE TABLE user_group (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	name VARCHAR(200) NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_user_group PRIMARY KEY (id),
	CONSTRAINT fk_user_group_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_user_group_tenant_id_name UNIQUE (tenant_id, name)
);
INSERT INTO "user_group" VALUES('019a0000000000000000000000000003','019a0000000000000000000000000001','HR','2026-11-02 09:30:00.250000');
CREATE TABLE user_group_member (
	group_id VARCHAR(32) NOT NULL,
	user_id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	CONSTRAINT pk_user_group_member PRIMARY KEY (group_id, user_id),
	CONSTRAINT fk_user_group_member_group_id_user_group FOREIGN KEY(group_id) REFERENCES user_group (id) ON DELETE CASCADE,
	CONSTRAINT fk_user_group_member_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT fk_user_group_member_user_id_user FOREIGN KEY(user_id) REFERENCES user (id) ON DELETE CASCADE
);
INSERT INTO "user_group_member" VALUES('019a0000000000000000000000000003','019a0000000000000000000000000002','019a0000000000000000000000000001');
CREATE TABLE worker (
	id VARCHAR(100) NOT NULL,
	host VARCHAR(200) NOT NULL,
	pid INTEGER NOT NULL,
	state VARCHAR(20) NOT NULL,
	started_at DATETIME NOT NULL,
	heartbeat_at DATETIME NOT NULL, figures JSON DEFAULT '{}' NOT NULL,
	CONSTRAINT pk_worker PRIMARY KEY (id)
);
INSERT INTO "worker" VALUES('w1','h',4711,'running','2026-11-02 09:30:00.250000','2026-11-02 09:30:00.250000','{"done": 3}');
CREATE TABLE workspace (
	id VARCHAR(32) NOT NULL,
	tenant_id VARCHAR(32) NOT NULL,
	platform VARCHAR(20) NOT NULL,
	external_id VARCHAR(100) NOT NULL,
	name VARCHAR(200) NOT NULL,
	members_are_tenant BOOLEAN NOT NULL,
	state VARCHAR(20) NOT NULL,
	settings JSON NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_workspace PRIMARY KEY (id),
	CONSTRAINT fk_workspace_tenant_id_tenant FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE CASCADE,
	CONSTRAINT uq_workspace_platform_external_id UNIQUE (platform, external_id)
);
INSERT INTO "workspace" VALUES('019a0000000000000000000000000005','019a0000000000000000000000000001','slack','T1','Acme',0,'active','{}','2026-11-02 09:30:00.250000');
CREATE INDEX ix_ephemeral_until ON ephemeral (until);
CREATE INDEX ix_acl_tenant_id ON acl (tenant_id);
CREATE INDEX ix_api_token_tenant_id ON api_token (tenant_id);
CREATE INDEX ix_api_token_user_id ON api_token (user_id);
CREATE INDEX ix_audit_event_tenant_at ON audit_event (tenant_id, at);
CREATE INDEX ix_conversation_external_id ON conversation (external_id);
CREATE INDEX ix_conversation_tenant_id ON conversation (tenant_id);
CREATE INDEX ix_conversation_user_id ON conversation (user_id);
CREATE INDEX ix_event_tenant_id ON event (tenant_id, id);
CREATE INDEX ix_flow_tenant_id ON flow (tenant_id);
CREATE INDEX ix_job_claim ON job (state, lane, turn, id, run_at, kind);
CREATE INDEX ix_job_document ON job (document_id, state);
CREATE INDEX ix_job_tenant ON job (tenant_id, state, lane, turn);
CREATE INDEX ix_knowledge_base_tenant_id ON knowledge_base (tenant_id);
CREATE UNIQUE INDEX uq_knowledge_base_live_name ON knowledge_base (tenant_id, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_membership_user_id ON membership (user_id);
CREATE INDEX ix_query_log_tenant_at ON query_log (tenant_id, at);
CREATE INDEX ix_run_document_id ON run (document_id);
CREATE INDEX ix_run_job_id ON run (job_id);
CREATE INDEX ix_run_tenant_id ON run (tenant_id);
CREATE INDEX ix_user_group_tenant_id ON user_group (tenant_id);
CREATE INDEX ix_workspace_tenant_id ON workspace (tenant_id);
CREATE INDEX ix_acl_token_tenant_token ON acl_token (tenant_id, token);
CREATE INDEX ix_channel_tenant_id ON channel (tenant_id);
CREATE INDEX ix_identity_tenant_id ON identity (tenant_id);
CREATE INDEX ix_identity_user_id ON identity (user_id);
CREATE INDEX ix_identity_workspace_id ON identity (workspace_id);
CREATE INDEX ix_kb_grant_tenant_id ON kb_grant (tenant_id);
CREATE INDEX ix_run_event_run ON run_event (run_id, id);
CREATE INDEX ix_run_event_tenant_id ON run_event (tenant_id);
CREATE INDEX ix_run_node_tenant_id ON run_node (tenant_id);
CREATE INDEX ix_turn_conversation_id ON turn (conversation_id);
CREATE INDEX ix_turn_tenant_id ON turn (tenant_id);
CREATE INDEX ix_user_group_member_tenant_id ON user_group_member (tenant_id);
CREATE INDEX ix_user_group_member_user_id ON user_group_member (user_id);
CREATE INDEX ix_channel_member_identity_id ON channel_member (identity_id);
CREATE INDEX ix_channel_member_tenant_id ON channel_member (tenant_id);
CREATE INDEX ix_document_acl_all ON document (kb_id) WHERE acl_all <> '[]';
CREATE INDEX ix_document_acl_kb ON document (acl_id, kb_id);
CREATE INDEX ix_document_kb_state ON document (kb_id, state);
CREATE INDEX ix_document_source_id ON document (source_id);
CREATE INDEX ix_document_tenant_id ON document (tenant_id);
CREATE INDEX ix_revision_tenant_id ON revision (tenant_id);
CREATE INDEX ix_live_document_id ON live (document_id);
CREATE INDEX ix_live_kb_id ON live (kb_id);
CREATE INDEX ix_live_revision_id ON live (revision_id);
CREATE INDEX ix_live_tenant_id ON live (tenant_id);
CREATE INDEX ix_revision_text_tenant_id ON revision_text (tenant_id);
CREATE INDEX ix_tool_call_tenant_at ON tool_call (tenant_id, at);
CREATE INDEX ix_installation_tenant_id ON installation (tenant_id);
CREATE INDEX ix_feedback_tenant_id ON feedback (tenant_id);
CREATE INDEX ix_post_identity ON post (identity_id, id);
CREATE INDEX ix_post_question ON post (workspace_id, channel, question_id);
CREATE INDEX ix_post_tenant_id ON post (tenant_id);
CREATE INDEX ix_post_thread ON post (workspace_id, channel, thread);
CREATE INDEX ix_thread_tenant_id ON thread (tenant_id);
CREATE INDEX ix_message_channel_dirty ON message (channel_id, dirty);
CREATE INDEX ix_message_channel_position ON message (channel_id, position);
CREATE INDEX ix_message_channel_thread ON message (channel_id, thread, position);
CREATE INDEX ix_message_document_id ON message (document_id);
CREATE INDEX ix_message_tenant_author ON message (tenant_id, author);
CREATE INDEX ix_message_span_message_id ON message_span (message_id);
CREATE INDEX ix_message_span_tenant_id ON message_span (tenant_id);
CREATE INDEX ix_source_kb_id ON source (kb_id);
CREATE INDEX ix_source_tenant_id ON source (tenant_id);
COMMIT;
