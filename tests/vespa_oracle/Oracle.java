import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.yahoo.component.ComponentId;
import com.yahoo.component.Version;
import com.yahoo.component.chain.Chain;
import com.yahoo.component.provider.ComponentRegistry;
import com.yahoo.config.ConfigInstance;
import com.yahoo.config.application.api.DeployLogger;
import com.yahoo.config.model.NullConfigModelRegistry;
import com.yahoo.config.model.api.ConfigChangeAction;
import com.yahoo.config.model.api.ConfigDefinitionRepo;
import com.yahoo.config.model.api.ValidationParameters;
import com.yahoo.config.model.application.provider.ApplicationPackageXmlFilesValidator;
import com.yahoo.config.model.application.provider.FilesApplicationPackage;
import com.yahoo.config.model.deploy.DeployState;
import com.yahoo.config.model.deploy.TestProperties;
import com.yahoo.container.QrSearchersConfig;
import com.yahoo.document.DocumentPut;
import com.yahoo.document.DocumentTypeManager;
import com.yahoo.document.DocumentUpdate;
import com.yahoo.document.config.DocumentmanagerConfig;
import com.yahoo.document.json.DocumentOperationType;
import com.yahoo.document.json.JsonReader;
import com.yahoo.document.json.JsonWriter;
import com.yahoo.document.predicate.Predicate;
import com.yahoo.document.select.DocumentSelector;
import com.yahoo.language.Language;
import com.yahoo.language.Linguistics;
import com.yahoo.language.lucene.LuceneAnalysisConfig;
import com.yahoo.language.lucene.LuceneLinguistics;
import com.yahoo.language.process.LinguisticsParameters;
import com.yahoo.language.process.StemMode;
import com.yahoo.language.process.Token;
import com.yahoo.prelude.IndexFacts;
import com.yahoo.prelude.IndexModel;
import com.yahoo.prelude.querytransform.NormalizingSearcher;
import com.yahoo.prelude.querytransform.StemmingSearcher;
import com.yahoo.prelude.searcher.ValidatePredicateSearcher;
import com.yahoo.search.Query;
import com.yahoo.search.Result;
import com.yahoo.search.Searcher;
import com.yahoo.search.config.IndexInfoConfig;
import com.yahoo.search.config.SchemaInfoConfig;
import com.yahoo.search.query.profile.compiled.CompiledQueryProfileRegistry;
import com.yahoo.search.query.profile.config.QueryProfileConfigurer;
import com.yahoo.search.query.profile.config.QueryProfilesConfig;
import com.yahoo.search.querytransform.LowercasingConfig;
import com.yahoo.search.querytransform.VespaLowercasingSearcher;
import com.yahoo.search.ranking.GlobalPhaseRanker;
import com.yahoo.search.ranking.RankProfilesEvaluator;
import com.yahoo.search.ranking.RankProfilesEvaluatorFactory;
import com.yahoo.search.result.ErrorMessage;
import com.yahoo.search.result.FeatureData;
import com.yahoo.search.result.Hit;
import com.yahoo.search.schema.SchemaInfo;
import com.yahoo.search.searchchain.Execution;
import com.yahoo.search.searchers.ValidateNearestNeighborSearcher;
import com.yahoo.search.yql.MinimalQueryInserter;
import com.yahoo.searchlib.rankingexpression.RankingExpression;
import com.yahoo.searchlib.rankingexpression.evaluation.MapContext;
import com.yahoo.searchlib.rankingexpression.evaluation.TensorValue;
import com.yahoo.searchlib.rankingexpression.evaluation.Value;
import com.yahoo.tensor.Tensor;
import com.yahoo.vespa.config.ConfigDefinitionKey;
import com.yahoo.vespa.config.buildergen.ConfigDefinition;
import com.yahoo.vespa.config.search.AttributesConfig;
import com.yahoo.vespa.config.search.RankProfilesConfig;
import com.yahoo.vespa.config.search.core.OnnxModelsConfig;
import com.yahoo.vespa.config.search.core.RankingConstantsConfig;
import com.yahoo.vespa.config.search.core.RankingExpressionsConfig;
import com.yahoo.vespa.model.VespaModel;
import com.yahoo.vespa.model.application.validation.Validation;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.Logger;

/**
 * Asks Vespa's own Java code what it makes of our packages, queries, payloads and expressions.
 *
 * <p>Reads one JSON object a line and answers with one, until the input ends. A question names its
 * `op`; an answer is `{"ok": true, …}`, or `{"ok": false, "error": [message, cause, …]}` where Vespa
 * refuses. Run from source: `java -cp 'jars/*' Oracle.java` (tests/vespa_oracle/conftest.py does).
 * Nothing of this is part of the product.
 */
public class Oracle {

    private static final ObjectMapper JSON = new ObjectMapper();

    /** The models built so far, by the folder of their package. */
    private final Map<String, VespaModel> models = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        LogManager.getLogManager().reset();
        Logger.getLogger("").setLevel(Level.OFF);
        Oracle oracle = new Oracle();
        BufferedReader questions =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = questions.readLine()) != null; ) {
            answers.println(JSON.writeValueAsString(oracle.answer(JSON.readTree(line))));
        }
        System.exit(0);
    }

    private ObjectNode answer(JsonNode question) {
        ObjectNode answer = JSON.createObjectNode();
        try {
            answer.put("ok", true);
            switch (question.get("op").asText()) {
                case "version" -> answer.put("vespa", vespaVersion());
                case "validate" -> validate(question, answer);
                case "query" -> query(question, answer);
                case "document" -> document(question, answer);
                case "selection" -> selection(question, answer);
                case "terms" -> terms(question, answer);
                case "function" -> function(question, answer);
                case "global_phase" -> globalPhase(question, answer);
                default -> throw new IllegalArgumentException("no such op");
            }
        } catch (Throwable error) { // whatever Vespa throws is its verdict
            answer.removeAll();
            answer.put("ok", false);
            ArrayNode reasons = answer.putArray("error");
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                reasons.add(String.valueOf(cause.getMessage()));
            }
            answer.put("class", error.getClass().getName());
        }
        return answer;
    }

    private static String vespaVersion() {
        String jar = VespaModel.class.getProtectionDomain().getCodeSource().getLocation().getPath();
        return jar.replaceAll(".*config-model-(.*)\\.jar", "$1");
    }

    // Packages

    /** Builds the model of a package and validates it, against a previous one where there is. */
    private void validate(JsonNode question, ObjectNode answer) throws Exception {
        File folder = new File(question.get("package").asText());
        ArrayNode log = answer.putArray("log");
        DeployLogger logger = (level, message) -> log.add(level + ": " + message);
        long started = System.nanoTime();
        ApplicationPackageXmlFilesValidator.create(folder, Version.fromString(vespaVersion()))
                .checkApplication();
        DeployState.Builder builder =
                new DeployState.Builder()
                        .applicationPackage(FilesApplicationPackage.fromDir(folder, Map.of()))
                        .configDefinitionRepo(new LinguisticsDefinition())
                        .deployLogger(logger)
                        .properties(new TestProperties());
        if (question.hasNonNull("now")) {
            builder.now(Instant.parse(question.get("now").asText()));
        }
        if (question.hasNonNull("previous")) {
            builder.previousModel(model(question.get("previous").asText()));
        }
        DeployState state = builder.build();
        VespaModel model = new VespaModel(new NullConfigModelRegistry(), state);
        List<ConfigChangeAction> actions =
                new Validation().validate(model, new ValidationParameters(), state);
        answer.put("seconds", (System.nanoTime() - started) / 1e9);
        ArrayNode found = answer.putArray("actions");
        for (ConfigChangeAction action : actions) {
            found.add(action.getType() + ": " + action.getMessage());
        }
        models.put(question.get("package").asText(), model);
    }

    private VespaModel model(String folder) {
        VespaModel model = models.get(folder);
        if (model == null) {
            throw new IllegalStateException(folder + " was not validated yet");
        }
        return model;
    }

    private <T extends ConfigInstance> T config(JsonNode question, Class<T> type, String id) {
        return model(question.get("package").asText()).getConfig(type, id);
    }

    /** The definition that a config server has on disk and the model builder looks up by name. */
    private static class LinguisticsDefinition implements ConfigDefinitionRepo {
        private final Map<ConfigDefinitionKey, ConfigDefinition> found = new HashMap<>();

        LinguisticsDefinition() throws Exception {
            String name = LuceneAnalysisConfig.CONFIG_DEF_NAME;
            String namespace = LuceneAnalysisConfig.CONFIG_DEF_NAMESPACE;
            found.put(
                    new ConfigDefinitionKey(name, namespace),
                    new ConfigDefinition(name, LuceneAnalysisConfig.CONFIG_DEF_SCHEMA));
        }

        @Override
        public Map<ConfigDefinitionKey, ConfigDefinition> getConfigDefinitions() {
            return found;
        }

        @Override
        public ConfigDefinition get(ConfigDefinitionKey key) {
            return found.get(key);
        }
    }

    // Queries

    /** Parses a search request as the container does; answers with the tree it would send on. */
    private void query(JsonNode question, ObjectNode answer) throws Exception {
        QrSearchersConfig searchers = config(question, QrSearchersConfig.class, "default");
        IndexFacts facts =
                new IndexFacts(
                        new IndexModel(
                                config(question, IndexInfoConfig.class, "default"), searchers));
        SchemaInfo schemas =
                new SchemaInfo(config(question, SchemaInfoConfig.class, "default"), searchers);
        CompiledQueryProfileRegistry profiles =
                QueryProfileConfigurer.createFromConfig(
                                config(question, QueryProfilesConfig.class, "default"))
                        .compile();
        Linguistics linguistics = linguistics(question);
        Query query =
                new Query.Builder()
                        .setRequestMap(flatten(question.get("request")))
                        .setQueryProfile(profiles.findQueryProfile("default"))
                        .setSchemaInfo(schemas)
                        .build();
        // Those of the native search chain that read or rewrite the tree, in its order.
        List<Searcher> chain = new ArrayList<>();
        chain.add(new MinimalQueryInserter(linguistics));
        chain.add(new ValidatePredicateSearcher());
        chain.add(new StemmingSearcher(linguistics));
        chain.add(new NormalizingSearcher(linguistics));
        chain.add(new VespaLowercasingSearcher(new LowercasingConfig.Builder().build()));
        chain.add(
                new ValidateNearestNeighborSearcher(
                        config(
                                question,
                                AttributesConfig.class,
                                "kb/search/cluster.kb/" + question.get("schema").asText())));
        Execution execution =
                new Execution(
                        new Chain<>("oracle", chain),
                        Execution.Context.createContextStub(null, facts, schemas, linguistics));
        Map<String, String> inputs = new HashMap<>();
        query.getRanking()
                .getFeatures()
                .asMap()
                .forEach((name, value) -> inputs.put(name, abbreviated(value)));
        Result result = execution.search(query);
        query.prepare();
        if (result.hits().getError() != null) {
            ArrayNode errors = JSON.createArrayNode();
            for (ErrorMessage error : result.hits().getErrorHit().errors()) {
                errors.add(error.getMessage() + ": " + error.getDetailedMessage());
            }
            throw new IllegalArgumentException(errors.toString());
        }
        answer.put("tree", query.getModel().getQueryTree().toString());
        answer.set("nodes", JSON.valueToTree(query.getModel().getQueryTree().treeSize()));
        answer.put("profile", query.getRanking().getProfile());
        answer.put("summary", String.valueOf(query.getPresentation().getSummary()));
        answer.put("hits", query.getHits());
        answer.put("timeout_ms", query.getTimeout());
        answer.set("restrict", JSON.valueToTree(query.getModel().getRestrict()));
        answer.set("sources", JSON.valueToTree(query.getModel().getSources()));
        answer.set("inputs", JSON.valueToTree(inputs));
        answer.put("rerank_count", query.getRanking().getGlobalPhase().getRerankCount());
        // How often a term occurs, where the query says so: what content nodes read for BM25.
        ObjectNode frequencies = JSON.createObjectNode();
        query.getRanking()
                .getProperties()
                .asMap()
                .forEach(
                        (name, values) -> {
                            if (name.endsWith(".docfreq")) {
                                frequencies.put(name, values.toString());
                            }
                        });
        if (!frequencies.isEmpty()) {
            answer.set("document_frequencies", frequencies);
        }
    }

    /** A JSON body as the container's handler turns it into properties. */
    @SuppressWarnings("unchecked")
    private static Map<String, String> flatten(JsonNode request) throws Exception {
        Class<?> parser = Class.forName("com.yahoo.search.handler.Json2SingleLevelMap");
        Constructor<?> make = parser.getDeclaredConstructor(InputStream.class);
        make.setAccessible(true);
        Method parse = parser.getDeclaredMethod("parse");
        parse.setAccessible(true);
        return (Map<String, String>)
                parse.invoke(make.newInstance(new ByteArrayInputStream(JSON.writeValueAsBytes(request))));
    }

    // Text

    private Linguistics linguistics(JsonNode question) {
        LuceneAnalysisConfig analysis =
                config(question, LuceneAnalysisConfig.class, "default/component/linguistics");
        return new LuceneLinguistics(analysis, new ComponentRegistry<>());
    }

    /** The terms that a text of a field with our linguistics profile is indexed by. */
    private void terms(JsonNode question, ObjectNode answer) {
        LinguisticsParameters parameters =
                new LinguisticsParameters(
                        "terms",
                        Language.fromLanguageTag(question.get("language").asText()),
                        StemMode.NONE,
                        false,
                        true);
        ArrayNode terms = answer.putArray("terms");
        for (Token token :
                linguistics(question)
                        .getTokenizer()
                        .tokenize(question.get("text").asText(), parameters)) {
            terms.add(token.getTokenString());
        }
    }

    // Documents

    /** Reads a put or an update as /document/v1 does; answers with what was understood. */
    private void document(JsonNode question, ObjectNode answer) throws Exception {
        DocumentTypeManager types =
                new DocumentTypeManager(config(question, DocumentmanagerConfig.class, "default"));
        byte[] body = question.get("body").asText().getBytes(StandardCharsets.UTF_8);
        boolean isPut = question.get("kind").asText().equals("put");
        var parsed =
                new JsonReader(types, new ByteArrayInputStream(body), JSON.getFactory())
                        .readSingleDocumentStreaming(
                                isPut ? DocumentOperationType.PUT : DocumentOperationType.UPDATE,
                                question.get("id").asText());
        answer.put("fully_applied", parsed.fullyApplied());
        if (parsed.operation() instanceof DocumentPut put) {
            answer.set("document", JSON.readTree(JsonWriter.toByteArray(put.getDocument())));
        } else if (parsed.operation() instanceof DocumentUpdate update) {
            ArrayNode fields = answer.putArray("updates");
            update.fieldUpdates().forEach(field -> fields.add(field.toString()));
        }
        if (parsed.operation().getCondition().isPresent()) {
            String condition = parsed.operation().getCondition().getSelection();
            answer.put("condition", new DocumentSelector(condition).toString());
        }
    }

    /** Parses a document selection or condition; with a document, also says whether it matches. */
    private void selection(JsonNode question, ObjectNode answer) throws Exception {
        DocumentSelector selector = new DocumentSelector(question.get("selection").asText());
        answer.put("selection", selector.toString());
        if (question.hasNonNull("body")) {
            DocumentTypeManager types =
                    new DocumentTypeManager(
                            config(question, DocumentmanagerConfig.class, "default"));
            byte[] body = question.get("body").asText().getBytes(StandardCharsets.UTF_8);
            var parsed =
                    new JsonReader(types, new ByteArrayInputStream(body), JSON.getFactory())
                            .readSingleDocumentStreaming(
                                    DocumentOperationType.PUT, question.get("id").asText());
            answer.put("matches", selector.accepts(parsed.operation()).toString());
        }
    }

    // Ranking

    private RankProfilesConfig profiles(JsonNode question) {
        return config(
                question,
                RankProfilesConfig.class,
                "kb/search/cluster.kb/" + question.get("schema").asText());
    }

    /** Evaluates a function or phase of a deployed rank profile over given features. */
    private void function(JsonNode question, ObjectNode answer) throws Exception {
        Map<String, String> properties = new HashMap<>();
        for (var profile : profiles(question).rankprofile()) {
            if (profile.name().equals(question.get("profile").asText())) {
                profile.fef().property().forEach(p -> properties.put(p.name(), p.value()));
            }
        }
        MapContext context = new MapContext();
        for (Iterator<Map.Entry<String, JsonNode>> it = question.get("features").fields();
                it.hasNext(); ) {
            Map.Entry<String, JsonNode> feature = it.next();
            context.put(
                    feature.getKey(),
                    feature.getValue().isTextual()
                            ? new TensorValue(Tensor.from(feature.getValue().asText()))
                            : Value.of(number(feature.getValue())));
        }
        Value value = evaluate(question.get("function").asText(), properties, context);
        if (value instanceof TensorValue tensor && tensor.asTensor().type().rank() > 0) {
            ObjectNode cells = answer.putObject("cells");
            tensor.asTensor()
                    .cellIterator()
                    .forEachRemaining(
                            cell -> cells.put(cell.getKey().label(0), cell.getDoubleValue()));
        } else {
            answer.put("value", written(value.asDouble()));
        }
    }

    /** Functions name one another as rankingExpression(name): innermost first, as far as known. */
    private Value evaluate(String name, Map<String, String> properties, MapContext context)
            throws Exception {
        String script = properties.get("rankingExpression(" + name + ").rankingScript");
        if (script == null) {
            throw new IllegalArgumentException("the profile has no function " + name);
        }
        RankingExpression expression = new RankingExpression(script);
        for (var argument : expression.getRoot().toString().split("rankingExpression\\(")) {
            String inner = argument.replaceAll("\\).*", "");
            String key = "rankingExpression(" + inner + ")";
            if (properties.containsKey(key + ".rankingScript")
                    && !context.names().contains(key)
                    && !inner.equals(name)) {
                context.put(key, evaluate(inner, properties, context));
            }
        }
        return expression.evaluate(context);
    }

    /** Runs the real global phase of a profile over hits with match-features, best first. */
    private void globalPhase(JsonNode question, ObjectNode answer) throws Exception {
        String schema = question.get("schema").asText();
        String id = "default/component/ranking-expression-evaluator." + schema;
        RankProfilesEvaluator evaluator =
                new RankProfilesEvaluator(
                        config(question, RankProfilesConfig.class, id),
                        config(question, RankingConstantsConfig.class, id),
                        config(question, RankingExpressionsConfig.class, id),
                        config(question, OnnxModelsConfig.class, id),
                        null,
                        null);
        evaluator.initId(ComponentId.fromString("ranking-expression-evaluator." + schema));
        ComponentRegistry<RankProfilesEvaluator> registry = new ComponentRegistry<>();
        registry.register(evaluator.getId(), evaluator);
        GlobalPhaseRanker ranker =
                new GlobalPhaseRanker(new RankProfilesEvaluatorFactory(registry));
        Query query = new Query();
        query.getRanking().setProfile(question.get("profile").asText());
        if (question.hasNonNull("rerank_count")) {
            query.getRanking().getGlobalPhase().setRerankCount(question.get("rerank_count").asInt());
        }
        question.get("inputs")
                .fields()
                .forEachRemaining(
                        input ->
                                query.getRanking()
                                        .getFeatures()
                                        .put("query(" + input.getKey() + ")", number(input.getValue())));
        Result result = new Result(query);
        for (JsonNode given : question.get("hits")) {
            Hit hit = new Hit(given.get("id").asText(), given.get("relevance").asDouble());
            Map<String, Tensor> features = new HashMap<>();
            given.get("features")
                    .fields()
                    .forEachRemaining(
                            feature ->
                                    features.put(
                                            feature.getKey(), Tensor.from(number(feature.getValue()))));
            hit.setField("matchfeatures", new FeatureData(features));
            result.hits().add(hit);
        }
        answer.put("rerank_count", ranker.getRerankCount(query, schema));
        ranker.rerankHits(query, result, schema);
        result.hits().sort();
        ArrayNode hits = answer.putArray("hits");
        for (Hit hit : result.hits()) {
            ArrayNode pair = hits.addArray();
            pair.add(hit.getId().toString());
            pair.add(written(hit.getRelevance().getScore()));
        }
    }

    /** A vector's beginning says what it was read as; its end is more of the same. */
    private static String abbreviated(Object value) {
        String text = String.valueOf(value);
        return text.length() > 80 ? text.substring(0, 80) + "…" : text;
    }

    /** JSON has no NaN: here a missing number is null. */
    private static double number(JsonNode node) {
        return node.isNull() ? Double.NaN : node.asDouble();
    }

    private static Double written(double value) {
        return Double.isFinite(value) ? (Double) value : null;
    }
}
