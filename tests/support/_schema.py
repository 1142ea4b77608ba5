# SPDX-License-Identifier: GPL-3.0-or-later
"""Field types of the kinds that are checked, in a short notation.

One line is one struct: `field=type`. Types are string, int, bool, quantity, intorstring, any, the name of a struct,
`[]T` (a list), `[]T@key` (a list that strategic merge joins by that key, `@.` by value) and `{}T` (a map).
A trailing `?` marks a scalar whose zero value a server leaves out. `*=any` accepts every other field.
Lists and maps that are empty are always left out, as Go's omitempty does.
"""

from __future__ import annotations

_NOTATION = """
ObjectMeta: name=string? generateName=string? namespace=string? selfLink=string? uid=string? resourceVersion=string?
  generation=int? creationTimestamp=string deletionTimestamp=string deletionGracePeriodSeconds=int labels={}string
  annotations={}string ownerReferences=[]OwnerReference@uid finalizers=[]string@. managedFields=[]any
OwnerReference: apiVersion=string kind=string name=string uid=string controller=bool blockOwnerDeletion=bool
LabelSelector: matchLabels={}string matchExpressions=[]LabelSelectorRequirement
LabelSelectorRequirement: key=string operator=string values=[]string

Deployment: metadata=ObjectMeta spec=DeploymentSpec status=any
DeploymentSpec: replicas=int selector=LabelSelector template=PodTemplateSpec strategy=DeploymentStrategy
  minReadySeconds=int? revisionHistoryLimit=int paused=bool? progressDeadlineSeconds=int
DeploymentStrategy: type=string? rollingUpdate=RollingUpdateDeployment
RollingUpdateDeployment: maxUnavailable=intorstring maxSurge=intorstring
ReplicaSet: metadata=ObjectMeta spec=ReplicaSetSpec status=any
ReplicaSetSpec: replicas=int minReadySeconds=int? selector=LabelSelector template=PodTemplateSpec
PodTemplateSpec: metadata=ObjectMeta spec=PodSpec
Pod: metadata=ObjectMeta spec=PodSpec status=any
PodSpec: volumes=[]Volume@name initContainers=[]Container@name containers=[]Container@name ephemeralContainers=[]any
  restartPolicy=string? terminationGracePeriodSeconds=int activeDeadlineSeconds=int dnsPolicy=string?
  nodeSelector={}string serviceAccountName=string? serviceAccount=string? automountServiceAccountToken=bool
  nodeName=string? hostNetwork=bool? hostPID=bool? hostIPC=bool? shareProcessNamespace=bool
  securityContext=PodSecurityContext imagePullSecrets=[]LocalObjectReference@name hostname=string? subdomain=string?
  affinity=any schedulerName=string? tolerations=[]Toleration hostAliases=[]HostAlias@ip priorityClassName=string?
  priority=int dnsConfig=any readinessGates=[]any runtimeClassName=string enableServiceLinks=bool
  preemptionPolicy=string overhead={}quantity topologySpreadConstraints=[]TopologySpreadConstraint@topologyKey
  setHostnameAsFQDN=bool os=any hostUsers=bool schedulingGates=[]any resourceClaims=[]any resources=ResourceRequirements
PodSecurityContext: seLinuxOptions=any windowsOptions=any runAsUser=int runAsGroup=int runAsNonRoot=bool
  supplementalGroups=[]int supplementalGroupsPolicy=string fsGroup=int sysctls=[]any fsGroupChangePolicy=string
  seccompProfile=SeccompProfile appArmorProfile=any seLinuxChangePolicy=string
SeccompProfile: type=string localhostProfile=string
LocalObjectReference: name=string?
HostAlias: ip=string hostnames=[]string
Toleration: key=string? operator=string? value=string? effect=string? tolerationSeconds=int
TopologySpreadConstraint: maxSkew=int topologyKey=string whenUnsatisfiable=string labelSelector=LabelSelector
  minDomains=int nodeAffinityPolicy=string nodeTaintsPolicy=string matchLabelKeys=[]string
Container: name=string image=string? command=[]string args=[]string workingDir=string?
  ports=[]ContainerPort@containerPort envFrom=[]EnvFromSource env=[]EnvVar@name resources=ResourceRequirements
  resizePolicy=[]any restartPolicy=string restartPolicyRules=[]any volumeMounts=[]VolumeMount@mountPath
  volumeDevices=[]any livenessProbe=Probe readinessProbe=Probe startupProbe=Probe lifecycle=Lifecycle
  terminationMessagePath=string? terminationMessagePolicy=string? imagePullPolicy=string?
  securityContext=SecurityContext stdin=bool? stdinOnce=bool? tty=bool?
ContainerPort: name=string? hostPort=int? containerPort=int protocol=string? hostIP=string?
EnvFromSource: prefix=string? configMapRef=OptionalReference secretRef=OptionalReference
OptionalReference: name=string? optional=bool
EnvVar: name=string value=string? valueFrom=EnvVarSource
EnvVarSource: fieldRef=ObjectFieldSelector resourceFieldRef=ResourceFieldSelector configMapKeyRef=KeySelector
  secretKeyRef=KeySelector fileKeyRef=any
ObjectFieldSelector: apiVersion=string? fieldPath=string
ResourceFieldSelector: containerName=string? resource=string divisor=quantity
KeySelector: name=string? key=string optional=bool
ResourceRequirements: limits={}quantity requests={}quantity claims=[]any
VolumeMount: name=string readOnly=bool? recursiveReadOnly=string mountPath=string subPath=string?
  mountPropagation=string subPathExpr=string?
Probe: exec=ExecAction httpGet=HTTPGetAction tcpSocket=TCPSocketAction grpc=any initialDelaySeconds=int?
  timeoutSeconds=int? periodSeconds=int? successThreshold=int? failureThreshold=int? terminationGracePeriodSeconds=int
ExecAction: command=[]string
HTTPGetAction: path=string? port=intorstring host=string? scheme=string? httpHeaders=[]any
TCPSocketAction: port=intorstring host=string?
Lifecycle: postStart=LifecycleHandler preStop=LifecycleHandler stopSignal=string
LifecycleHandler: exec=ExecAction httpGet=HTTPGetAction tcpSocket=TCPSocketAction sleep=SleepAction
SleepAction: seconds=int
SecurityContext: capabilities=Capabilities privileged=bool seLinuxOptions=any windowsOptions=any runAsUser=int
  runAsGroup=int runAsNonRoot=bool readOnlyRootFilesystem=bool allowPrivilegeEscalation=bool procMount=string
  seccompProfile=SeccompProfile appArmorProfile=any
Capabilities: add=[]string drop=[]string
Volume: name=string configMap=ConfigMapVolume secret=SecretVolume emptyDir=EmptyDirVolume projected=ProjectedVolume
  persistentVolumeClaim=ClaimVolume hostPath=HostPathVolume downwardAPI=any nfs=any csi=any ephemeral=any image=any
ConfigMapVolume: name=string? items=[]KeyToPath defaultMode=int optional=bool
SecretVolume: secretName=string? items=[]KeyToPath defaultMode=int optional=bool
KeyToPath: key=string path=string mode=int
EmptyDirVolume: medium=string? sizeLimit=quantity
ProjectedVolume: sources=[]any defaultMode=int
ClaimVolume: claimName=string readOnly=bool?
HostPathVolume: path=string type=string

Namespace: metadata=ObjectMeta spec=any status=any
Secret: metadata=ObjectMeta immutable=bool data={}string stringData={}string type=string?
ConfigMap: metadata=ObjectMeta immutable=bool data={}string binaryData={}string
ServiceAccount: metadata=ObjectMeta secrets=[]any@name imagePullSecrets=[]LocalObjectReference
  automountServiceAccountToken=bool
Event: metadata=ObjectMeta *=any
ResourceQuota: metadata=ObjectMeta spec=any status=any
Role: metadata=ObjectMeta rules=[]PolicyRule
ClusterRole: metadata=ObjectMeta rules=[]PolicyRule aggregationRule=any
PolicyRule: verbs=[]string apiGroups=[]string resources=[]string resourceNames=[]string nonResourceURLs=[]string
RoleBinding: metadata=ObjectMeta subjects=[]Subject roleRef=RoleRef
ClusterRoleBinding: metadata=ObjectMeta subjects=[]Subject roleRef=RoleRef
Subject: kind=string apiGroup=string? name=string namespace=string?
RoleRef: apiGroup=string kind=string name=string
ValidatingAdmissionPolicy: metadata=ObjectMeta spec=any status=any
ValidatingAdmissionPolicyBinding: metadata=ObjectMeta spec=any
PersistentVolumeClaim: metadata=ObjectMeta spec=PersistentVolumeClaimSpec status=any
PersistentVolumeClaimSpec: accessModes=[]string selector=LabelSelector resources=VolumeResourceRequirements
  volumeName=string? storageClassName=string volumeMode=string dataSource=any dataSourceRef=any
  volumeAttributesClassName=string
VolumeResourceRequirements: limits={}quantity requests={}quantity
Service: metadata=ObjectMeta spec=ServiceSpec status=any
ServiceSpec: ports=[]ServicePort@port selector={}string clusterIP=string? clusterIPs=[]string type=string?
  externalIPs=[]string sessionAffinity=string? loadBalancerIP=string? loadBalancerSourceRanges=[]string
  externalName=string? externalTrafficPolicy=string? healthCheckNodePort=int? publishNotReadyAddresses=bool?
  sessionAffinityConfig=any ipFamilies=[]string ipFamilyPolicy=string allocateLoadBalancerNodePorts=bool
  loadBalancerClass=string internalTrafficPolicy=string trafficDistribution=string
ServicePort: name=string? protocol=string? appProtocol=string port=int targetPort=intorstring nodePort=int?

PodDisruptionBudget: metadata=ObjectMeta spec=PodDisruptionBudgetSpec status=any
PodDisruptionBudgetSpec: minAvailable=intorstring selector=LabelSelector maxUnavailable=intorstring
  unhealthyPodEvictionPolicy=string
HorizontalPodAutoscaler: metadata=ObjectMeta spec=HorizontalPodAutoscalerSpec status=any
HorizontalPodAutoscalerSpec: scaleTargetRef=CrossVersionObjectReference minReplicas=int maxReplicas=int
  metrics=[]MetricSpec behavior=HorizontalPodAutoscalerBehavior
CrossVersionObjectReference: kind=string name=string apiVersion=string?
MetricSpec: type=string object=ObjectMetric pods=PodsMetric resource=ResourceMetric
  containerResource=ContainerResourceMetric external=ExternalMetric
ObjectMetric: describedObject=CrossVersionObjectReference target=MetricTarget metric=MetricIdentifier
PodsMetric: metric=MetricIdentifier target=MetricTarget
ContainerResourceMetric: name=string container=string target=MetricTarget
ResourceMetric: name=string target=MetricTarget
ExternalMetric: metric=MetricIdentifier target=MetricTarget
MetricIdentifier: name=string selector=LabelSelector
MetricTarget: type=string value=quantity averageValue=quantity averageUtilization=int
HorizontalPodAutoscalerBehavior: scaleUp=HPAScalingRules scaleDown=HPAScalingRules
HPAScalingRules: stabilizationWindowSeconds=int selectPolicy=string policies=[]HPAScalingPolicy tolerance=quantity
HPAScalingPolicy: type=string value=int periodSeconds=int
Ingress: metadata=ObjectMeta spec=IngressSpec status=any
IngressSpec: ingressClassName=string defaultBackend=any tls=[]any rules=[]any
NetworkPolicy: metadata=ObjectMeta spec=NetworkPolicySpec
NetworkPolicySpec: podSelector=LabelSelector ingress=[]any egress=[]any policyTypes=[]string
CustomResourceDefinition: metadata=ObjectMeta spec=any status=any

ScaledObject: metadata=ObjectMeta spec=ScaledObjectSpec status=any
ScaledObjectSpec: scaleTargetRef=ScaleTarget pollingInterval=int initialCooldownPeriod=int cooldownPeriod=int
  idleReplicaCount=int minReplicaCount=int maxReplicaCount=int advanced=AdvancedConfig triggers=[]ScaleTrigger
  fallback=Fallback
ScaleTarget: name=string apiVersion=string kind=string envSourceContainerName=string
AdvancedConfig: horizontalPodAutoscalerConfig=HorizontalPodAutoscalerConfig restoreToOriginalReplicaCount=bool
  scalingModifiers=ScalingModifiers
HorizontalPodAutoscalerConfig: name=string behavior=CustomBehavior
CustomBehavior: scaleUp=CustomScalingRules scaleDown=CustomScalingRules
CustomScalingRules: stabilizationWindowSeconds=int selectPolicy=string policies=[]HPAScalingPolicy tolerance=intorstring
ScalingModifiers: formula=string target=string activationTarget=string metricType=string
ScaleTrigger: type=string name=string useCachedMetrics=bool metadata={}string authenticationRef=AuthenticationRef
  metricType=string
AuthenticationRef: name=string kind=string
Fallback: failureThreshold=int replicas=int behavior=string
ScaledJob: metadata=ObjectMeta spec=ScaledJobSpec status=any
ScaledJobSpec: jobTargetRef=any pollingInterval=int successfulJobsHistoryLimit=int failedJobsHistoryLimit=int
  envSourceContainerName=string minReplicaCount=int maxReplicaCount=int rolloutStrategy=string rollout=Rollout
  scalingStrategy=ScalingStrategy triggers=[]ScaleTrigger
Rollout: strategy=string propagationPolicy=string
ScalingStrategy: strategy=string customScalingQueueLengthDeduction=int customScalingRunningJobPercentage=string
  pendingPodConditions=[]string multipleScalersCalculation=string
"""

Fields = dict[str, str]

_OPEN_CUSTOM_RESOURCE: Fields = {"metadata": "ObjectMeta", "*": "any"}


def _read(notation: str) -> dict[str, Fields]:
    structs: dict[str, Fields] = {}
    current: Fields = {}
    for line in notation.splitlines():
        if not line.strip():
            continue
        if not line.startswith(" "):
            name, _colon, line = line.partition(":")
            current = structs.setdefault(name, {})
        for item in line.split():
            field, _equals, type_ = item.partition("=")
            current[field] = type_
    return structs


STRUCTS = _read(_NOTATION)


def fields_of(struct: str) -> Fields:
    """The fields of a struct; a custom resource without a line here has free fields."""
    return STRUCTS.get(struct, _OPEN_CUSTOM_RESOURCE)


def item_type(list_type: str) -> tuple[str, str | None]:
    """`[]Container@name` is a list of Container, joined by `name`."""
    item, _at, key = list_type.removeprefix("[]").partition("@")
    return item, key or None
